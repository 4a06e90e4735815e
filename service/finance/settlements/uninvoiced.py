"""Confirmed claims that have a line without an invoice: finance cannot settle it yet."""

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

# A read starts at most this often, and its statement may take READ_S.
EVERY_S = 30
READ_S = 3
# After a read that took t seconds, the next one starts 100 t later at the earliest.
PAUSE_FACTOR = 100
# A scrape waits this long for a running read. Then it gets the last result.
PATIENCE_S = 0.3

Age = Literal["week", "month", "older"]
AGES: tuple[Age, ...] = ("week", "month", "older")

_SQL = """
SELECT CASE WHEN booked_on > $2::date - 7 THEN 'week' WHEN booked_on > $2::date - 30 THEN 'month'
        ELSE 'older' END AS age,
    count(DISTINCT claim_id) AS claims, sum(fen)::bigint AS fen
FROM (
    SELECT claim_id, line_no, min(booked_on) AS booked_on, sum(amount_fen) AS fen
    FROM journal WHERE jurisdiction = $1 AND claim_id IS NOT NULL
    GROUP BY claim_id, line_no HAVING sum(amount_fen) > 0
) AS g
WHERE NOT EXISTS (SELECT FROM invoice AS i WHERE i.claim_id = g.claim_id)
    AND NOT EXISTS (
        SELECT FROM line_invoiced AS l WHERE l.claim_id = g.claim_id AND l.line_no = g.line_no)
GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Uninvoiced:
    """A number of claims, and their subsidy less refunds, in fen."""

    claims: int
    fen: int


async def read_uninvoiced(
    connection: asyncpg.Connection, jurisdiction: str, today: date
) -> dict[Age, Uninvoiced]:
    """The claims without an invoice by the age of their grant: up to a week, up to 30 days, older.
    Reads the whole journal. Raises asyncpg's errors."""
    rows = await connection.fetch(_SQL, jurisdiction, today)
    by_age = {row["age"]: Uninvoiced(row["claims"], row["fen"]) for row in rows}
    return {age: by_age.get(age, Uninvoiced(0, 0)) for age in AGES}


class UninvoicedCache:
    """The last result of `read_uninvoiced`. Each read scans the whole journal, so reads are spaced
    out: together they take at most a hundredth of one connection's time. A read that takes longer
    than READ_S is cancelled."""

    def __init__(self, reports: Reports, jurisdiction: str, clock: Clock) -> None:
        self._reports = reports
        self._jurisdiction = jurisdiction
        self._clock = clock
        self._last: Mapping[str, tuple[int, int]] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._read_at_s = 0.0

    async def __call__(self) -> Mapping[str, tuple[int, int]] | None:
        """(claims, fen) by age, from the last read. None: no read has succeeded yet."""
        if self._reading is None and time.monotonic() >= self._read_at_s:
            self._reading = asyncio.create_task(self._read())
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=PATIENCE_S)
        return self._last

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        started = time.monotonic()
        try:
            async with self._reports.connection() as connection, connection.transaction():
                await connection.execute(f"SET LOCAL statement_timeout = '{READ_S}s'")
                today = business_day(self._clock.now())
                by_age = await read_uninvoiced(connection, self._jurisdiction, today)
            self._last = {age: (count.claims, count.fen) for age, count in by_age.items()}
        except (LedgerAway, ReportsBusy):
            pass  # the ledger is away or busy, or the read was cancelled: the last result stays
        finally:
            took_s = time.monotonic() - started
            self._read_at_s = time.monotonic() + max(EVERY_S, took_s * PAUSE_FACTOR)
            self._reading = None
