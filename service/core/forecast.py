"""When a pool runs out: a median and an 80 % range, from the burn so far.

The burn of a day is modelled as a level, times the weekday's share, plus a trend, plus noise. Each
starts from a prior (the constants below) and follows the history. A short or ragged history widens
the range.

Money is whole fen, and everything derived from it is exact: no float and no randomness. So the same
history gives the same days everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from service.core.burn_model import WHOLE, Point, fit, weekday_shares
from service.core.calendar import SHANGHAI, business_day

# Eight whole weeks: the model would give older days too much weight.
HISTORY_DAYS = 56

# Shops sell from nine to nine: the share of today's burn that is still to come follows the clock.
OPENS_HOUR, TRADING_HOURS = 9, 12

# A day that ended with less than 1/20 of the busiest day's burn left was cut short by the budget.
# Its demand is unknown, so it is left out. (A negative remainder: the budget was booked late and
# cut nothing short.)
DRY_DIVISOR = 20

Outlook = Literal["runs_out", "may_run_out", "lasts", "empty", "idle", "too_early", "no_policy"]


@dataclass(frozen=True, slots=True)
class BurnDay:
    """A whole booking day: grants less refunds, and the remainder at its end; in fen."""

    on: date
    burn_fen: int
    left_fen: int


@dataclass(frozen=True, slots=True)
class Opening:
    """A planned tranche: money from the beginning of its day on."""

    on: date
    fen: int


@dataclass(frozen=True, slots=True)
class Outset:
    """A pool's state at the instant `at`. `days` are whole days, oldest first.
    `today_fen` is the burn since midnight. `ends_on` is the policy's last day; None: no policy
    covers the pool today."""

    at: datetime
    remaining_fen: int
    today_fen: int
    days: Sequence[BurnDay]
    openings: Sequence[Opening]
    ends_on: date | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The day on which the pool is first empty, tranches counted from the day they open.

    In one of ten cases it comes before `earliest_on`, in one of two before `median_on`, in nine
    of ten by `latest_on`; None: not before the policy's end. `daily_fen` is the usual burn of a
    day, from `days` days of history. `outlook` sums it up: `runs_out` (in half of all cases or
    more), `may_run_out` (in a tenth or more), `lasts`; `empty` now; `idle`: nothing is
    being taken; `too_early`: no whole day of history; `no_policy`.
    """

    outlook: Outlook
    earliest_on: date | None
    median_on: date | None
    latest_on: date | None
    daily_fen: int
    days: int


def forecast(outset: Outset) -> Forecast:
    """The forecast for one pool. More money, or one more tranche, never makes it earlier."""
    today = business_day(outset.at)
    days = _demand_days(outset.days)
    daily_fen = sum(day.burn_fen for day in days) // len(days) if days else 0
    if outset.ends_on is None or outset.ends_on < today:
        return Forecast("no_policy", None, None, None, daily_fen, len(days))
    if outset.remaining_fen <= 0:
        return Forecast("empty", today, today, today, daily_fen, len(days))
    if not days:
        outlook: Outlook = "too_early" if outset.today_fen > 0 else "idle"
        return Forecast(outlook, None, None, None, 0, 0)
    if daily_fen <= 0:
        return Forecast("idle", None, None, None, daily_fen, len(days))
    empty_on = _empty_days(outset, today, days)
    return Forecast(_outlook(empty_on), *empty_on, daily_fen, len(days))


def _demand_days(days: Sequence[BurnDay]) -> Sequence[BurnDay]:
    """The days that show the demand: from the first burn on, without those that the budget cut
    short."""
    days = days[-HISTORY_DAYS:]
    first = next((at for at, day in enumerate(days) if day.burn_fen > 0), len(days))
    busiest_fen = max((day.burn_fen for day in days), default=0)
    return [day for day in days[first:] if not 0 <= day.left_fen * DRY_DIVISOR < busiest_fen]


def _empty_days(
    outset: Outset, today: date, days: Sequence[BurnDay]
) -> tuple[date | None, date | None, date | None]:
    """The first days on which the pool is empty with 10, 50 and 90 % probability."""
    assert outset.ends_on is not None
    points = [Point((day.on - today).days, day.on.weekday(), day.burn_fen) for day in days]
    shares = weekday_shares(points)
    to_come = _to_come(outset.at)
    so_far = Point(0, today.weekday(), outset.today_fen, WHOLE - to_come)
    model = fit([*points, so_far], shares)
    empty_on: list[date | None] = [None, None, None]
    ahead = model.ahead(today.weekday(), to_come)
    for after in range((outset.ends_on - today).days + 1):
        on = today + timedelta(days=after)
        need_fen = outset.remaining_fen + sum(
            tranche.fen for tranche in outset.openings if tranche.on <= on
        )
        reached = next(ahead).reaches(need_fen)
        empty_on = [
            day or (on if is_reached else None)
            for day, is_reached in zip(empty_on, reached, strict=True)
        ]
        if empty_on[2] is not None:
            break
    earliest, median, latest = empty_on
    return earliest, median, latest


def _to_come(now: datetime) -> int:
    """How many thousandths of today's burn are still to come."""
    local = now.astimezone(SHANGHAI)
    open_min = (local.hour - OPENS_HOUR) * 60 + local.minute
    return WHOLE - min(max(open_min, 0), TRADING_HOURS * 60) * WHOLE // (TRADING_HOURS * 60)


def _outlook(empty_on: Sequence[date | None]) -> Outlook:
    earliest, median, _ = empty_on
    if median is not None:
        return "runs_out"
    return "lasts" if earliest is None else "may_run_out"
