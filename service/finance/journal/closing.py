"""Closes the days of the journal in order. The digest of a day includes the one before.

Day D closes at 00:30 on D + 1 (Asia/Shanghai). Closing numbers the day's entries without gaps,
hashes each one (`journal_seal`) and stores the digest of the day (`journal_day`). A later entry is
booked on the next open day: the SQL function `booking_day()` returns that day, and locks it against
closing until the booking transaction ends.
"""

from datetime import date, datetime, time, timedelta

import asyncpg
import structlog

from service.background import Loop
from service.clock import Clock
from service.core.calendar import SHANGHAI
from service.core.funding import rates_of
from service.core.policy import PolicyBook
from service.db.engine import LedgerAway
from service.db.reports import Reports, ReportsBusy

CLOSES_AFTER = timedelta(minutes=30)
EVERY_S = 30.0
# A booking transaction takes milliseconds. If one takes longer, the next pass tries again.
LOCK_WAIT_MS = 2_000

log = structlog.get_logger()

_FIRST_OPEN_SQL = """
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
    """The last day that is due to close at `now`."""
    return (now.astimezone(SHANGHAI) - CLOSES_AFTER).date() - timedelta(days=1)


def closes_at(day: date) -> datetime:
    """The instant from which the day is due to close."""
    return datetime.combine(day + timedelta(days=1), time(), SHANGHAI) + CLOSES_AFTER


class DayCloser:
    """One in each worker. The first worker closes a day; the others find it closed."""

    def __init__(self, reports: Reports, book: PolicyBook, clock: Clock) -> None:
        self._reports = reports
        self._book = book
        self._clock = clock

    def loop(self) -> Loop:
        return Loop("closing", EVERY_S, self.run_once, expected=(LedgerAway, ReportsBusy))

    async def run_once(self) -> list[date]:
        """Close every day that is due. Returns these days. Raises LedgerAway or ReportsBusy."""
        now = self._clock.now()
        async with self._reports.connection() as connection:
            await record_funding(connection, self._book)
            return await close_days(connection, self._book.jurisdiction, now)


async def record_funding(connection: asyncpg.Connection, book: PolicyBook) -> None:
    """Store the funding shares of each policy. Stored shares never change: if a policy file now
    has others, that is logged as an error."""
    rows = [(book.jurisdiction, policy.id, *rates_of(policy.funding)) for policy in book.policies]
    records = await connection.fetch(
        "SELECT * FROM policy_funding WHERE jurisdiction = $1", book.jurisdiction
    )
    stored = {record["policy"]: tuple(record.values()) for record in records}
    for row in rows:
        if row[1] not in stored:
            await connection.execute(
                "INSERT INTO policy_funding VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                *row,
            )
        elif stored[row[1]] != row:
            log.error("funding_changed", policy=row[1], kept=stored[row[1]][2:], now=row[2:])


async def close_days(
    connection: asyncpg.Connection, jurisdiction: str, now: datetime
) -> list[date]:
    """Close every day that is due, oldest first. Returns the closed days."""
    closed: list[date] = []
    while (day := await still_due(connection, jurisdiction, now)) is not None:
        if not await _close_day(connection, jurisdiction, day, now):
            break
        closed.append(day)
    return closed


async def still_due(
    connection: asyncpg.Connection, jurisdiction: str, now: datetime
) -> date | None:
    """The first open day that is due."""
    first: date | None = await connection.fetchval(_FIRST_OPEN_SQL, jurisdiction)
    return first if first is not None and first <= last_due(now) else None


async def _close_day(
    connection: asyncpg.Connection, jurisdiction: str, day: date, now: datetime
) -> bool:
    """Close the day. Waits for bookings on it to commit. False: such a booking took too long, or
    another worker has closed the day."""
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
            await connection.execute(
                "SELECT pg_advisory_xact_lock("
                "hashtext('journal ' || $1::text), journal_day_key($2))",
                jurisdiction,
                day,
            )
            if await connection.fetchval(_FIRST_OPEN_SQL, jurisdiction) != day:
                return False  # another worker was first
            await connection.execute(SEAL, jurisdiction, day)
            await connection.execute(CLOSE, jurisdiction, day, now)
    except asyncpg.LockNotAvailableError:
        log.warning("closing_waits", day=day.isoformat())
        return False
    log.info("day_closed", day=day.isoformat())
    return True
