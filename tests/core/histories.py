"""Histories of burn that are generated, so that what comes of them is known."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import accumulate
from math import log, sqrt
from typing import Any

from service.core.calendar import SHANGHAI
from service.core.forecast import BurnDay, Forecast, Opening, Outset, forecast

TODAY = date(2025, 6, 18)  # a Wednesday
BEFORE_SHOPS_OPEN = datetime(2025, 6, 18, 0, 5, tzinfo=SHANGHAI)
PLENTY_FEN = 10**15
LEVEL_FEN = 10_000_000
AS_EVER = (1.0,) * 7
# Monday first; the mean is 1.
WEEKEND = (0.75, 0.75, 0.8, 0.9, 1.0, 1.5, 1.3)


@dataclass(frozen=True)
class Burn:
    """Burn of `level_fen` times the weekday's part, that grows by `slope` a day of what it is
    today, with lognormal noise of relative size `noise`; or, with `sales_a_day`, of single sales
    that come by chance."""

    noise: float = 0
    week: Sequence[float] = AS_EVER
    slope: float = 0
    sales_a_day: float = 0
    level_fen: int = LEVEL_FEN

    def mean_fen(self, after: int) -> float:
        weekday = (TODAY + timedelta(days=after)).weekday()
        return self.level_fen * self.week[weekday] * max(0, 1 + self.slope * after)

    def fen(self, after: int, chance: random.Random) -> int:
        mean = self.mean_fen(after)
        if self.sales_a_day:
            sales = 0
            gone = chance.expovariate(self.sales_a_day * mean / self.level_fen)
            while gone < 1:
                sales += 1
                gone += chance.expovariate(self.sales_a_day * mean / self.level_fen)
            return round(sales * self.level_fen / self.sales_a_day)
        if not self.noise:
            return round(mean)
        sigma = sqrt(log(1 + self.noise**2))
        return round(mean * chance.lognormvariate(-(sigma**2) / 2, sigma))

    def days(self, count: int, seed: int = 0) -> list[int]:
        """The last `count` days before today."""
        chance = random.Random(seed)
        return [self.fen(after, chance) for after in range(-count, 0)]

    def ahead(self, count: int, seed: int = 0) -> list[int]:
        """Today and the days after it."""
        chance = random.Random(seed + 1_000_000)
        return [self.fen(after, chance) for after in range(count)]

    def lasting(self, days: int) -> int:
        """Money for so many days, and for half of the next, as the means go."""
        means = [self.mean_fen(after) for after in range(days + 1)]
        return round(sum(means[:-1]) + means[-1] / 2)


def day_of(burn_fen: Sequence[int], budget_fen: int) -> date | None:
    """The day on which such a burn, from today on, has used a budget up."""
    for after, burnt_fen in enumerate(accumulate(burn_fen)):
        if burnt_fen >= budget_fen:
            return TODAY + timedelta(days=after)
    return None


def history(burn_fen: Sequence[int], left_fen: int = PLENTY_FEN) -> list[BurnDay]:
    first = TODAY - timedelta(days=len(burn_fen))
    return [BurnDay(first + timedelta(days=at), fen, left_fen) for at, fen in enumerate(burn_fen)]


@dataclass(frozen=True)
class Pool:
    """What `forecast` is asked, with what most tests do not care about filled in."""

    remaining_fen: int
    burn_fen: Sequence[int] = ()
    today_fen: int = 0
    at: datetime = BEFORE_SHOPS_OPEN
    openings: Sequence[Opening] = ()
    ends_on: date | None = date(2026, 6, 18)
    days: list[BurnDay] = field(default_factory=list)

    def forecast(self) -> Forecast:
        return forecast(
            Outset(
                self.at,
                self.remaining_fen,
                self.today_fen,
                self.days or history(self.burn_fen),
                self.openings,
                self.ends_on,
            )
        )


def forecast_of(remaining_fen: int, burn_fen: Sequence[int] = (), **more: Any) -> Forecast:
    return Pool(remaining_fen, burn_fen, **more).forecast()
