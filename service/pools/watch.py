"""The budgets, their burn and their forecasts, for the API, the board and the metrics.

Each worker keeps one reading, which is seconds old at most. Any number of requests share it.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import inf, nan

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from service import metrics
from service.background import Loop
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

# The ledger is read at most once in this time, however many requests there are.
FRESH_S = 2.0
# A request for the board waits this long for newer figures. Then it gets the last ones.
WAIT_S = 0.25
FIRST_WAIT_S = 1.0  # for the first figures of a worker
# The board says so when its figures are older than this.
STALE_S = 20.0
# A forecast counts in days and takes some 20 ms of the worker: more often would gain nothing.
FORECAST_S = 15.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PoolForecast:
    """A pool's forecast, and the policy's last day for it."""

    ends_on: date | None
    forecast: Forecast


@dataclass(frozen=True, slots=True, eq=False)
class BudgetView:
    """All budgets as read at business time `at`, with the forecasts made at `forecast_at`."""

    at: datetime
    pools: Sequence[PoolBurn]
    claims_per_minute: int
    forecast_at: datetime
    forecasts: Mapping[str, PoolForecast]


class BudgetWatch:
    """One in each worker. Its methods may be called concurrently."""

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
        self._under_way: asyncio.Task[BudgetView] | None = None
        self._read_s = self._tried_s = -inf
        self._away = False
        self._noted_at: datetime | None = None
        self.last: BudgetView | None = None

    def loop(self) -> Loop:
        return Loop("watch", FORECAST_S, self.run_once, expected=(LedgerAway, ReportsBusy))

    async def drain(self) -> None:
        """Wait for the reading that is under way."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way})

    async def run_once(self) -> BudgetView:
        """Read the budgets, with every closed day in `pool_day`; store the reading that is due;
        make new forecasts. Raises LedgerAway or ReportsBusy."""
        reading = await self._read_filled()
        due = reading_due(reading.at)
        if due != self._noted_at:
            async with driver(self._engine) as connection:
                await take_reading(connection, self._book.jurisdiction, due)
            self._noted_at = due
        return await self._publish(reading, forecasting=True)

    async def view(self) -> BudgetView:
        """The budgets, read at most FRESH_S ago. Raises LedgerAway."""
        if time.monotonic() - self._tried_s < FRESH_S:
            if self.last is None or self._away:
                raise LedgerAway("PostgreSQL did not answer a moment ago")
            return self.last
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._read_view())
        return await asyncio.shield(self._under_way)

    async def newest(self) -> tuple[BudgetView | None, bool]:
        """(the newest view or None, whether it is stale). Waits for the ledger at most WAIT_S or
        FIRST_WAIT_S, so requests do not pile up behind a slow ledger."""
        if time.monotonic() - self._tried_s >= FRESH_S:
            reading = asyncio.ensure_future(self.view())
            # Marks the exception as retrieved: `_away` already says that the ledger is away.
            reading.add_done_callback(lambda done: done.exception())
            await asyncio.wait({reading}, timeout=WAIT_S if self.last else FIRST_WAIT_S)
        stale = self._away or time.monotonic() - self._read_s > STALE_S
        return self.last, stale

    async def _read_view(self) -> BudgetView:
        try:
            reading = await self._read_filled()
            return await self._publish(reading, forecasting=self.last is None)
        except (LedgerAway, ReportsBusy) as error:
            self._away = True
            self._tried_s = time.monotonic()
            raise LedgerAway("the budgets cannot be read") from error

    async def _read_filled(self) -> BurnReading:
        """A reading with every closed day in `pool_day`, so that all other burn is today's."""
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
            # The number of days left does not change while another worker fills them: stop then.
            while left != (left := await fill_days(connection, self._book.jurisdiction)):
                if not left:
                    break

    async def _publish(self, reading: BurnReading, *, forecasting: bool) -> BudgetView:
        """Make the reading the newest view, with new forecasts or with those of the last view."""
        last = self.last
        if forecasting or last is None:
            forecast_at, forecasts = reading.at, await self._forecasts(reading)
        else:
            forecast_at, forecasts = last.forecast_at, dict(last.forecasts)
        self.last = BudgetView(
            reading.at, reading.pools, reading.claims_per_minute, forecast_at, forecasts
        )
        self._read_s = self._tried_s = time.monotonic()
        self._away = False
        return self.last

    async def _forecasts(self, reading: BurnReading) -> dict[str, PoolForecast]:
        today = business_day(reading.at)
        forecasts = {}
        for pool in reading.pools:
            ends_on = last_day(self._book, pool.pool, today)
            projected = forecast(_outset(pool, reading.at, ends_on))
            forecasts[pool.pool] = PoolForecast(ends_on, projected)
            _export(pool.pool, projected)
            await asyncio.sleep(0)  # each takes some milliseconds: let claims run in between
        return forecasts


def _outset(pool: PoolBurn, at: datetime, ends_on: date | None) -> Outset:
    openings = [
        Opening(business_day(tranche.opens_at), tranche.amount_fen) for tranche in pool.planned
    ]
    return Outset(at, pool.remaining_fen, pool.today_fen, pool.days, openings, ends_on)


def last_day(book: PolicyBook, pool: str, today: date) -> date | None:
    """The last day on which the policy of `today` pays from the pool. None: it never does."""
    policy = book.on(today)
    scheme = (
        next((s for name, s in policy.schemes.items() if name == pool), None) if policy else None
    )
    if policy is None or scheme is None:
        return None
    ends = (category.to_on.value for category in scheme.categories.values())
    return min(policy.in_force.to_on.value, max(ends))


def _export(pool: str, projected: Forecast) -> None:
    """Set the forecast's metrics. A day is the Unix time of its first moment in Shanghai."""
    days = {
        "0.1": projected.earliest_on,
        "0.5": projected.median_on,
        "0.9": projected.latest_on,
    }
    unknown = nan if projected.outlook in ("too_early", "no_policy") else inf
    for quantile, day in days.items():
        moment_s = unknown if day is None else start_of_day(day).timestamp()
        metrics.forecast_exhausted.labels(pool, quantile).set(moment_s)
    metrics.forecast_daily_fen.labels(pool).set(projected.daily_fen)
