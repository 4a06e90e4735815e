"""Watches the budgets: how they stand, how they burn, when they run out. For the API, the board
and the metrics alike, from one reading in each worker that is at most seconds old."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import inf, nan

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from service import metrics
from service.background import Passes
from service.clock import Clock
from service.core.calendar import business_day, start_of_day
from service.core.forecast import Forecast, Opening, Outset, forecast
from service.core.policy import PolicyBook
from service.db.engine import LedgerAway, driver
from service.db.reports import Reports, ReportsBusy
from service.pools.burn import (
    BurnReading,
    PoolBurn,
    fill_days,
    read_burn,
    reading_due,
    take_reading,
)

# However many ask: the ledger is asked once in this time.
FRESH_S = 2.0
# How long a reader of the board waits for newer figures, and when they are too old to say nothing.
GLANCE_S = 0.25
STALE_S = 20.0
FIRST_GLANCE_S = 1.0  # there is nothing older to show
# A forecast of days is no better for being made more often; it takes some 20 ms of the worker.
FORECAST_S = 15.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PoolForecast:
    """A pool's forecast, and the policy's last day for it."""

    ends_on: date | None
    forecast: Forecast


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The budgets as last read, at business time `at`; the forecasts were made at
    `forecast_at`."""

    at: datetime
    pools: Sequence[PoolBurn]
    claims_per_minute: int
    forecast_at: datetime
    forecasts: Mapping[str, PoolForecast]


class BudgetWatch:
    """One in each worker. `look` may be called by any number at a time."""

    def __init__(
        self,
        engine: AsyncEngine,
        reports: Reports,
        book: PolicyBook,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._reports = reports
        self._book = book
        self._clock = clock
        self._passes = Passes("watch", FORECAST_S, (LedgerAway, ReportsBusy))
        self._under_way: asyncio.Task[Look] | None = None
        self._looked_s = self._tried_s = -inf
        self._away = False
        self._noted_at: datetime | None = None
        self.last: Look | None = None

    def stop(self) -> None:
        self._passes.stop()

    async def run(self) -> None:
        """Keep the metrics true until stopped."""
        await self._passes.run(self.run_once)
        if self._under_way is not None:
            await asyncio.wait({self._under_way})

    async def run_once(self) -> Look:
        """Add up the days that have closed, read, note today's burn, forecast. Raises LedgerAway
        or ReportsBusy."""
        reading = await self._read_filled()
        due = reading_due(reading.at)
        if due != self._noted_at:
            async with driver(self._engine) as connection:
                await take_reading(connection, self._book.jurisdiction, due)
            self._noted_at = due
        return await self._take(reading, anew=True)

    async def look(self) -> Look:
        """The budgets, read in the last two seconds. Raises LedgerAway."""
        if time.monotonic() - self._tried_s < FRESH_S:
            if self.last is None or self._away:
                raise LedgerAway("PostgreSQL did not answer a moment ago")
            return self.last
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._look())
        return await asyncio.shield(self._under_way)

    async def glance(self) -> tuple[Look | None, bool]:
        """The last look there is, and whether it is stale. Waits for the ledger for a moment at
        most, so that a crowd of readers never piles up behind it."""
        if time.monotonic() - self._tried_s >= FRESH_S:
            looking = asyncio.ensure_future(self.look())
            looking.add_done_callback(lambda done: done.exception())  # told by `_away`
            await asyncio.wait({looking}, timeout=GLANCE_S if self.last else FIRST_GLANCE_S)
        stale = self._away or time.monotonic() - self._looked_s > STALE_S
        return self.last, stale

    async def _look(self) -> Look:
        try:
            return await self._take(await self._read_filled(), anew=self.last is None)
        except (LedgerAway, ReportsBusy) as error:
            self._away = True
            self._tried_s = time.monotonic()
            raise LedgerAway("the budgets cannot be read") from error

    async def _read_filled(self) -> BurnReading:
        """With every closed day added up: what was burnt since the last one is today's."""
        reading = await self._read()
        if reading.unfilled:
            await self._fill()
            reading = await self._read()
        return reading

    async def _read(self) -> BurnReading:
        async with driver(self._engine) as connection:
            return await read_burn(connection, self._book.jurisdiction, self._clock.now())

    async def _fill(self) -> None:
        left = None
        async with self._reports.connection() as connection:
            # It stays the same when another worker is at it.
            while left != (left := await fill_days(connection, self._book.jurisdiction)):
                if not left:
                    break

    async def _take(self, reading: BurnReading, *, anew: bool) -> Look:
        """Keep a reading; `anew`: with new forecasts."""
        last = self.last
        if anew or last is None:
            made_at, forecasts = reading.at, await self._forecasts(reading)
        else:
            made_at, forecasts = last.forecast_at, dict(last.forecasts)
        self.last = Look(reading.at, reading.pools, reading.claims_per_minute, made_at, forecasts)
        self._looked_s = self._tried_s = time.monotonic()
        self._away = False
        return self.last

    async def _forecasts(self, reading: BurnReading) -> dict[str, PoolForecast]:
        today = business_day(reading.at)
        made = {}
        for pool in reading.pools:
            ends_on = last_day(self._book, pool.pool, today)
            openings = [Opening(business_day(one.opens_at), one.amount_fen) for one in pool.planned]
            made[pool.pool] = PoolForecast(
                ends_on,
                forecast(
                    Outset(
                        reading.at,
                        pool.remaining_fen,
                        pool.today_fen,
                        pool.days,
                        openings,
                        ends_on,
                    )
                ),
            )
            _show(pool.pool, made[pool.pool].forecast)
            await asyncio.sleep(0)  # some milliseconds each: claims go first
        return made


def last_day(book: PolicyBook, pool: str, today: date) -> date | None:
    """The last day on which the policy in force today takes money from the pool."""
    policy = book.on(today)
    scheme = (
        next((s for name, s in policy.schemes.items() if name == pool), None) if policy else None
    )
    if policy is None or scheme is None:
        return None
    ends = (category.to_on.value for category in scheme.categories.values())
    return min(policy.in_force.to_on.value, max(ends))


def _show(pool: str, made: Forecast) -> None:
    """The forecast among the metrics: the first moment of the day, by the business clock."""
    days = {"0.1": made.earliest_on, "0.5": made.median_on, "0.9": made.latest_on}
    unknown = nan if made.outlook in ("too_early", "no_policy") else inf
    for quantile, day in days.items():
        moment_s = unknown if day is None else start_of_day(day).timestamp()
        metrics.forecast_exhausted.labels(pool, quantile).set(moment_s)
    metrics.forecast_daily_fen.labels(pool).set(made.daily_fen)
