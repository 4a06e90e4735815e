"""Where finance reads the books: from the ledger itself, or from a standby of it.

A standby knows neither who is booking just now nor, exactly, which entry numbers are given out. So
the ledger is asked up to which number the books are complete, and the standby is waited for until
it has all of that. Closed days need nobody: whoever has the day has its entries.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg

from service.db.away import LedgerAway
from service.db.reports import TURN_S, Reports, open_reports
from service.finance.journal.selection import Selection, complete, spanned

# A standby that is further behind than this is not waited for.
BEHIND_MAX_S = 10
REPLAY_POLL_S = 0.02

# The first two are a standby's as well as its ledger's.
IDENTITY = """
    SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()),
        pg_postmaster_start_time()
    FROM pg_control_system()
"""
REPLAYED = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
LAST_CLOSED = "SELECT max(day) FROM journal_day WHERE jurisdiction = $1"
LAST_SEALED = """
    SELECT coalesce(max(entry_no), 0) FROM journal_seal
    WHERE jurisdiction = $1 AND day BETWEEN $2 AND $3
"""


class StandbyBehind(Exception):
    """What BUTIE_EXPORT_DATABASE_URL names is too far behind the ledger, or not its standby."""


class Books:
    """Connections that read the journal, and the rule that makes what they read complete."""

    def __init__(self, ledger: Reports, standby: Reports | None) -> None:
        self._ledger = ledger
        self._standby = standby

    @classmethod
    async def open(
        cls, ledger: Reports, standby_url: str | None, turn_s: float = TURN_S
    ) -> "Books":
        """Connects to nothing yet."""
        return cls(ledger, None if standby_url is None else await open_reports(standby_url, turn_s))

    def close(self) -> None:
        """Cut what is under way; the ledger's connections are their owner's."""
        if self._standby is not None:
            self._standby.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """To read with. Raises LedgerAway or ReportsBusy."""
        async with (self._standby or self._ledger).connection() as connection:
            yield connection

    async def complete(self, reading: asyncpg.Connection, wanted: Selection) -> Selection:
        """The selection with its `until`: nothing up to it can come any more, and a snapshot that
        `reading` takes now has it all. Raises LedgerAway, BookersHang or StandbyBehind."""
        if self._standby is None:
            return await complete(reading, wanted)
        try:
            async with self._ledger.connection() as primary:
                found = await complete(primary, wanted)
                reached = await primary.fetchval("SELECT pg_current_wal_lsn()::text")
                at_home = tuple(await primary.fetchrow(IDENTITY))
        except LedgerAway:
            return await self._closed(reading, wanted)
        here = tuple(await reading.fetchrow(IDENTITY))
        if here == at_home:  # another address of the ledger itself
            return found
        if here[:2] != at_home[:2] or not await reading.fetchval("SELECT pg_is_in_recovery()"):
            raise StandbyBehind
        await _replayed(reading, reached)
        return found

    @asynccontextmanager
    async def snapshot(
        self, wanted: Selection
    ) -> AsyncIterator[tuple[asyncpg.Connection, Selection]]:
        """A connection in a transaction with one snapshot, and the completed selection."""
        async with self.connection() as reading:
            selection = await self.complete(reading, wanted)
            async with reading.transaction(isolation="repeatable_read", readonly=True):
                yield reading, await spanned(reading, selection)

    async def _closed(self, reading: asyncpg.Connection, wanted: Selection) -> Selection:
        """With the ledger away: what is closed is complete."""
        closed = await reading.fetchval(LAST_CLOSED, wanted.jurisdiction)
        if closed is None or wanted.to_on > closed:
            raise LedgerAway("without the ledger only closed days can be read")
        days = wanted.from_on, wanted.to_on
        sealed: int = await reading.fetchval(LAST_SEALED, wanted.jurisdiction, *days)
        return replace(wanted, until=sealed if wanted.until is None else min(sealed, wanted.until))


async def _replayed(reading: asyncpg.Connection, reached: str) -> None:
    """Wait until the standby has everything up to this position of the ledger's log."""
    try:
        async with asyncio.timeout(BEHIND_MAX_S):
            while not await reading.fetchval(REPLAYED, reached):  # noqa: ASYNC110
                await asyncio.sleep(REPLAY_POLL_S)
    except TimeoutError:
        raise StandbyBehind from None
