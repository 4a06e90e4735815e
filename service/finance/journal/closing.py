"""The days of the journal close, one after another, each chained to the one before.

Day D closes at 00:30 on D + 1 (Asia/Shanghai), half an hour after the last sale that could be
booked on it. Then its entries are numbered without gaps and hashed (`journal_seal`), and the day
gets its digest (`journal_day`). What comes later is booked on the next day: `booking_day()` in
the ledger says on which, and holds it open until the booking is committed.
"""

from datetime import date, datetime, time, timedelta

import asyncpg
import structlog

from service.background import Passes
from service.clock import Clock
from service.core.calendar import SHANGHAI
from service.core.funding import rates_of
from service.core.policy import PolicyBook
from service.db.engine import LedgerAway
from service.db.reports import Reports, ReportsBusy

CLOSES_AFTER = timedelta(minutes=30)
EVERY_S = 30.0
# Bookings that are under way end in milliseconds; else the next pass tries again.
LOCK_WAIT_MS = 2_000

log = structlog.get_logger()

FIRST_OPEN = """
    SELECT coalesce(
        (SELECT max(day) + 1 FROM journal_day WHERE jurisdiction = $1),
        (SELECT min(booked_on) FROM journal WHERE jurisdiction = $1))
"""
SEAL = """
    INSERT INTO journal_seal (jurisdiction, entry_no, day, seq, leaf)
    SELECT jurisdiction, entry_no, booked_on, row_number() OVER (ORDER BY entry_no),
        journal_leaf(journal_funded)
    FROM journal_funded WHERE jurisdiction = $1 AND booked_on = $2
"""
CLOSE = """
    INSERT INTO journal_day (
        jurisdiction, day, closed_at, entries, sum_fen, previous_digest, digest)
    SELECT $1, $2, $3, entries, sum_fen, previous,
        journal_day_digest(previous, $1, $2, entries, sum_fen, leaves)
    FROM (
        SELECT count(*) AS entries,
            coalesce(sum(amount_fen), 0)::bigint AS sum_fen,
            coalesce(string_agg(leaf, ''::bytea ORDER BY seq), '') AS leaves
        FROM journal_seal JOIN journal USING (jurisdiction, entry_no)
        WHERE jurisdiction = $1 AND day = $2
    ) AS sealed,
    (SELECT coalesce(
        (SELECT digest FROM journal_day WHERE jurisdiction = $1 AND day = $2::date - 1), ''
    ) AS previous) AS chain
"""


def last_due(now: datetime) -> date:
    """The last day whose moment to close has come."""
    return (now.astimezone(SHANGHAI) - CLOSES_AFTER).date() - timedelta(days=1)


def closes_at(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), SHANGHAI) + CLOSES_AFTER


class Closer:
    """One in each worker: whoever comes first closes, and the others find it done."""

    def __init__(self, reports: Reports, book: PolicyBook, clock: Clock) -> None:
        self._reports = reports
        self._book = book
        self._clock = clock
        self._passes = Passes("closing", EVERY_S, (LedgerAway, ReportsBusy))

    def stop(self) -> None:
        self._passes.stop()

    async def run(self) -> None:
        """Close each day when its moment has come, until stopped."""
        await self._passes.run(self.run_once)

    async def run_once(self) -> list[date]:
        """Close every day that is due; returns them. Raises LedgerAway or ReportsBusy."""
        now = self._clock.now()
        async with self._reports.connection() as connection:
            await record_funding(connection, self._book)
            return await close_days(connection, self._book.jurisdiction, now)


async def record_funding(connection: asyncpg.Connection, book: PolicyBook) -> None:
    """Keep who bears each policy's subsidies. What was kept first holds for good."""
    rows = [(book.jurisdiction, policy.id, *rates_of(policy.funding)) for policy in book.policies]
    known = await connection.fetch(
        "SELECT * FROM policy_funding WHERE jurisdiction = $1", book.jurisdiction
    )
    kept = {record["policy"]: tuple(record.values()) for record in known}
    for row in rows:
        if row[1] not in kept:
            await connection.execute(
                "INSERT INTO policy_funding VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                *row,
            )
        elif kept[row[1]] != row:
            log.error("funding_changed", policy=row[1], kept=kept[row[1]][2:], now=row[2:])


async def close_days(
    connection: asyncpg.Connection, jurisdiction: str, now: datetime
) -> list[date]:
    """Close every open day whose moment has come, oldest first."""
    closed: list[date] = []
    while (day := await still_due(connection, jurisdiction, now)) is not None:
        if not await _close_day(connection, jurisdiction, day, now):
            break
        closed.append(day)
    return closed


async def still_due(
    connection: asyncpg.Connection, jurisdiction: str, now: datetime
) -> date | None:
    """The first open day whose moment has come."""
    first: date | None = await connection.fetchval(FIRST_OPEN, jurisdiction)
    return first if first is not None and first <= last_due(now) else None


async def _close_day(
    connection: asyncpg.Connection, jurisdiction: str, day: date, now: datetime
) -> bool:
    """Whether this call has closed the day. Bookings under way into it are waited for."""
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
            await connection.execute(
                "SELECT pg_advisory_xact_lock("
                "hashtext('journal ' || $1::text), journal_day_key($2))",
                jurisdiction,
                day,
            )
            if await connection.fetchval(FIRST_OPEN, jurisdiction) != day:
                return False  # another worker was first
            await connection.execute(SEAL, jurisdiction, day)
            await connection.execute(CLOSE, jurisdiction, day, now)
    except asyncpg.LockNotAvailableError:
        log.warning("closing_waits", day=day.isoformat())
        return False
    log.info("day_closed", day=day.isoformat())
    return True
