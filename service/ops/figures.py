"""Metrics of the ledger, read from it at each scrape.

So any worker can answer, nothing is summed over workers, and a restart loses nothing. While the
ledger is away these metrics are missing, and `butie_ledger_up` is 0.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from sqlalchemy.ext.asyncio import AsyncEngine

from service import metrics
from service.clock import Clock
from service.core.calendar import business_day, start_of_day
from service.db.engine import LedgerAway, driver
from service.pools.budgets import Budget, read_budgets

# A scraper waits 10 s. A reading takes milliseconds.
LEDGER_READ_S = 3.0
# A scrape within this time gets the same answer, so that many scrapers cost the ledger nothing.
SCRAPE_FRESH_S = 0.5
TOWNS_MAX = 50
OTHERS = "others"
NO_TOWN = "none"

SUMS = """
SELECT kind, pool, category, sum(entries)::bigint, abs(sum(amount_fen))::bigint
FROM journal_sum_day WHERE jurisdiction = $1 AND kind <> 'allocation' GROUP BY 1, 2, 3
"""
DAYS = """
SELECT booked_on, kind, pool, abs(sum(amount_fen))::bigint FROM journal_sum_day
WHERE jurisdiction = $1 AND booked_on = ANY ($2) AND kind <> 'allocation' GROUP BY 1, 2, 3
"""
TOWNS = """
SELECT coalesce(nullif(store.town, ''), $2), kind, abs(sum(amount_fen))::bigint
FROM journal_sum_store JOIN store USING (jurisdiction, store_id)
WHERE jurisdiction = $1 GROUP BY 1, 2 ORDER BY 3 DESC
"""
SALES = """
SELECT kind, pool, category, abs(sum(sales_fen))::bigint
FROM sales_sum_day WHERE jurisdiction = $1 GROUP BY 1, 2, 3
"""
SALES_DAYS = """
SELECT booked_on, kind, pool, abs(sum(sales_fen))::bigint FROM sales_sum_day
WHERE jurisdiction = $1 AND booked_on = ANY ($2) GROUP BY 1, 2, 3
"""
SALES_TOWNS = """
SELECT coalesce(nullif(store.town, ''), $2), kind, abs(sum(sales_fen))::bigint
FROM sales_sum_store JOIN store USING (jurisdiction, store_id)
WHERE jurisdiction = $1 GROUP BY 1, 2 ORDER BY 3 DESC
"""
HOLDS = "SELECT count(*) FROM claim WHERE jurisdiction = $1 AND state = 'reserved'"
AUDIT = """
SELECT finished_at, key, value::bigint
FROM (SELECT finished_at, breaches FROM audit_run WHERE jurisdiction = $1
      ORDER BY run_no DESC LIMIT 1) AS newest, jsonb_each_text(breaches)
"""

AUDIT_FULL = """
SELECT finished_at FROM audit_run WHERE jurisdiction = $1 AND everything
ORDER BY run_no DESC LIMIT 1
"""

# By the values of the labels: a tuple of as many strings as the metric has labels.
Samples = Mapping[Any, float]


class Figures:
    """Reads the figures of one jurisdiction. `sum_up` brings the journal's sums up to date and
    returns how many entries they still lack, `sum_up_sales` those of the sales. `uninvoiced` reads
    (claims, fen) by age; None while they are not known."""

    def __init__(
        self,
        engine: AsyncEngine,
        jurisdiction: str,
        clock: Clock,
        *,
        sum_up: Callable[[asyncpg.Connection, str], Awaitable[int]],
        sum_up_sales: Callable[[asyncpg.Connection, str], Awaitable[int]],
        uninvoiced: Callable[[], Awaitable[Mapping[str, tuple[int, int]] | None]],
    ) -> None:
        self._engine = engine
        self._jurisdiction = jurisdiction
        self._clock = clock
        self._sum_up = sum_up
        self._sum_up_sales = sum_up_sales
        self._uninvoiced = uninvoiced
        self._reading = asyncio.Lock()
        self._read: list[Metric] = []
        self._read_at = -SCRAPE_FRESH_S

    async def families(self) -> list[Metric]:
        """Every metric that is computed at a scrape; those of the ledger if it answers."""
        async with self._reading:
            if time.monotonic() - self._read_at >= SCRAPE_FRESH_S:
                self._read = [*_targets(), *_clock(self._clock.now()), *await self._of_ledger()]
                self._read_at = time.monotonic()
            return self._read

    async def _of_ledger(self) -> list[Metric]:
        today = business_day(self._clock.now())
        try:
            async with driver(self._engine, within_s=LEDGER_READ_S) as connection:
                families = await self._ask(connection, today)
            uninvoiced = await self._uninvoiced()
        except LedgerAway:
            return [_one(metrics.ledger_up, 0)]
        families.append(_one(metrics.ledger_up, 1))
        if uninvoiced is not None:
            claims = {(age,): claims for age, (claims, _) in uninvoiced.items()}
            fen = {(age,): fen for age, (_, fen) in uninvoiced.items()}
            families.append(family(metrics.uninvoiced_claims, claims))
            families.append(family(metrics.uninvoiced_fen, fen))
        return families

    async def _ask(self, connection: asyncpg.Connection, today: date) -> list[Metric]:
        unsummed = await self._sum_up(connection, self._jurisdiction)
        sales_unsummed = await self._sum_up_sales(connection, self._jurisdiction)
        days = {"today": today, "yesterday": today - timedelta(days=1)}

        async def rows(query: str, *more: Any) -> list[asyncpg.Record]:
            return list(await connection.fetch(query, self._jurisdiction, *more))

        async with connection.transaction(isolation="repeatable_read", readonly=True):
            budgets = await read_budgets(connection, self._jurisdiction)
            sums = await rows(SUMS)
            return [
                family(metrics.pool_fen, _pools(budgets)),
                family(metrics.journal_entries, {tuple(row)[:3]: row[3] for row in sums}),
                family(metrics.journal_fen, {tuple(row)[:3]: row[4] for row in sums}),
                family(metrics.day_fen, _days(budgets, days, await rows(DAYS, [*days.values()]))),
                family(metrics.town_fen, _towns(await rows(TOWNS, NO_TOWN))),
                family(metrics.sales_fen, {tuple(row)[:3]: row[3] for row in await rows(SALES)}),
                family(
                    metrics.day_sales_fen,
                    _days(budgets, days, await rows(SALES_DAYS, [*days.values()])),
                ),
                family(metrics.town_sales_fen, _towns(await rows(SALES_TOWNS, NO_TOWN))),
                _one(metrics.holds, (await rows(HOLDS))[0][0]),
                *_tranches(budgets),
                *_audit(await rows(AUDIT), await rows(AUDIT_FULL)),
                _one(metrics.journal_unsummed, unsummed),
                _one(metrics.sales_unsummed, sales_unsummed),
            ]


# --- from rows to samples ---------------------------------------------------------------


def family(metric: metrics.AtScrape, samples: Samples) -> Metric:
    """The metric with its samples, by the values of its labels."""
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    filled = kind(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in samples.items():
        filled.add_metric(labels, value)
    return filled


def _one(metric: metrics.AtScrape, value: float) -> Metric:
    return family(metric, {(): value})


def _pools(budgets: Iterable[Budget]) -> Samples:
    return {
        (budget.pool, measure): fen
        for budget in budgets
        for measure, fen in {
            "allocated": budget.allocated_fen,
            "confirmed": budget.confirmed_fen,
            "reserved": budget.reserved_fen,
            "remaining": budget.remaining_fen,
        }.items()
    }


def _days(
    budgets: Iterable[Budget], days: Mapping[str, date], rows: Iterable[asyncpg.Record]
) -> Samples:
    """A day without a booking is 0, not missing."""
    booked = {tuple(row)[:3]: row[3] for row in rows}
    return {
        (name, kind, budget.pool): booked.get((day, kind, budget.pool), 0)
        for name, day in days.items()
        for kind in ("grant", "refund")
        for budget in budgets
    }


def _towns(rows: Iterable[asyncpg.Record]) -> Samples:
    """`rows` come largest first. After TOWNS_MAX towns the rest are summed as OTHERS."""
    samples: dict[tuple[str, ...], float] = {}
    shown: set[str] = set()
    for town, kind, fen in rows:
        if town in shown or len(shown) < TOWNS_MAX:
            shown.add(town)
        else:
            town = OTHERS
        samples[kind, town] = samples.get((kind, town), 0) + fen
    return samples


def _tranches(budgets: Iterable[Budget]) -> list[Metric]:
    planned = {(budget.pool,): (budget.planned_fen, budget.next_opens_at) for budget in budgets}
    return [
        family(metrics.tranche_fen, {pool: fen for pool, (fen, at) in planned.items() if at}),
        family(
            metrics.tranche_next, {pool: at.timestamp() for pool, (_, at) in planned.items() if at}
        ),
    ]


def _audit(rows: list[asyncpg.Record], full: list[asyncpg.Record]) -> list[Metric]:
    families = [family(metrics.audit_breaches, {(name,): count for _, name, count in rows})]
    if rows:
        families.append(_one(metrics.audit_finished, rows[0]["finished_at"].timestamp()))
    if full:
        families.append(_one(metrics.audit_full_finished, full[0]["finished_at"].timestamp()))
    return families


def _targets() -> list[Metric]:
    within = {(slo.method, slo.route): slo.within_s for slo in metrics.SLOS}
    goal = {(slo.method, slo.route): slo.goal_ratio for slo in metrics.SLOS}
    return [
        family(metrics.slo_within, within),
        family(metrics.slo_latency_goal, goal),
        _one(metrics.slo_availability_goal, metrics.AVAILABILITY_GOAL_RATIO),
    ]


def _clock(now: datetime) -> list[Metric]:
    year = business_day(now).year
    begin, end = (start_of_day(date(year + more, 1, 1)) for more in (0, 1))
    return [
        _one(metrics.business_time, now.timestamp()),
        _one(metrics.year_elapsed, (now - begin) / (end - begin)),
    ]
