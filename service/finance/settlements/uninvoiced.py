"""Confirmed claims that have no invoice yet: finance cannot settle them."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

import asyncpg

from service.clock import Clock
from service.core.calendar import business_day
from service.db.engine import LedgerAway
from service.db.reports import Reports, ReportsBusy

EVERY_S = 30
READ_S = 3
PAUSE_FACTOR = 100
# How long a scrape waits for a new answer before it shows the last one.
PATIENCE_S = 0.3

Age = Literal["week", "month", "older"]
AGES: tuple[Age, ...] = ("week", "month", "older")

_SQL = """
SELECT CASE WHEN booked_on > $2::date - 7 THEN 'week' WHEN booked_on > $2::date - 30 THEN 'month'
        ELSE 'older' END AS age,
    count(*) AS claims, sum(fen)::bigint AS fen
FROM (
    SELECT claim_id, min(booked_on) AS booked_on, sum(amount_fen) AS fen
    FROM journal WHERE jurisdiction = $1 AND claim_id IS NOT NULL
    GROUP BY claim_id HAVING sum(amount_fen) > 0
) AS granted
WHERE NOT EXISTS (SELECT FROM invoice WHERE invoice.claim_id = granted.claim_id)
GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Uninvoiced:
    """How many claims, and their subsidy less refunds, in fen."""

    claims: int
    fen: int


async def read_uninvoiced(
    connection: asyncpg.Connection, jurisdiction: str, today: date
) -> dict[Age, Uninvoiced]:
    """By the age of the grant: up to a week, up to 30 days, older. Reads the whole journal.

    Raises asyncpg's errors.
    """
    rows = await connection.fetch(_SQL, jurisdiction, today)
    found = {row["age"]: Uninvoiced(row["claims"], row["fen"]) for row in rows}
    return {age: found.get(age, Uninvoiced(0, 0)) for age in AGES}


class UninvoicedLately:
    """What `read_uninvoiced` said lately. It reads the whole journal, so it is asked seldom, the
    more seldom the longer it takes, and is cut off when that is too long: a hundredth of one
    connection's time at the most."""

    def __init__(self, reports: Reports, jurisdiction: str, clock: Clock) -> None:
        self._reports = reports
        self._jurisdiction = jurisdiction
        self._clock = clock
        self._known: Mapping[str, tuple[int, int]] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._ask_at = 0.0

    async def __call__(self) -> Mapping[str, tuple[int, int]] | None:
        """Claims and fen by age, as last known; None while they never were."""
        if self._asking is None and time.monotonic() >= self._ask_at:
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=PATIENCE_S)
        return self._known

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self) -> None:
        started = time.monotonic()
        try:
            async with self._reports.connection() as connection, connection.transaction():
                await connection.execute(f"SET LOCAL statement_timeout = '{READ_S}s'")
                today = business_day(self._clock.now())
                found = await read_uninvoiced(connection, self._jurisdiction, today)
            self._known = {age: (one.claims, one.fen) for age, one in found.items()}
        except (LedgerAway, ReportsBusy):
            pass  # away, busy or too long: what was known stays
        finally:
            took_s = time.monotonic() - started
            self._ask_at = time.monotonic() + max(EVERY_S, took_s * PAUSE_FACTOR)
            self._asking = None
