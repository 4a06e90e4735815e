"""The connections that finance reads the journal with: to the ledger, or to a standby of it.

A standby knows neither the running booking transactions nor the exact state of the sequence. So the
ledger is asked for a complete `until`, and the export waits until the standby has replayed the
write-ahead log up to that moment. Closed days need no ledger: a standby that has the day's digest
has its entries.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg

from service.db.away import LedgerAway
from service.db.reports import CONNECTION_WAIT_S, Reports, open_reports
from service.finance.journal.selection import Selection, complete_selection, with_span

# An export does not wait longer for a standby.
BEHIND_MAX_S = 10
REPLAY_POLL_S = 0.02

# A standby shares the first two columns with its ledger.
_IDENTITY_SQL = """
    SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()),
        pg_postmaster_start_time()
    FROM pg_control_system()
"""
_REPLAYED_SQL = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
_LAST_CLOSED_SQL = "SELECT max(day) FROM journal_day WHERE jurisdiction = $1"
_LAST_SEALED_SQL = """
    SELECT coalesce(max(entry_no), 0) FROM journal_seal
    WHERE jurisdiction = $1 AND day BETWEEN $2 AND $3
"""


class StandbyBehind(Exception):
    """The server of BUTIE_EXPORT_DATABASE_URL is too far behind, or no standby of the ledger."""


class Books:
    """Connections that read the journal, with the snapshot rule of `selection.py`."""

    def __init__(self, ledger: Reports, standby: Reports | None) -> None:
        self._ledger = ledger
        self._standby = standby

    @classmethod
    async def open(
        cls, ledger: Reports, standby_url: str | None, wait_s: float = CONNECTION_WAIT_S
    ) -> "Books":
        """Opens no connection yet."""
        return cls(ledger, None if standby_url is None else await open_reports(standby_url, wait_s))

    def close(self) -> None:
        """Close the standby's connections. The owner of the ledger's `Reports` closes those."""
        if self._standby is not None:
            self._standby.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection to read with. Raises LedgerAway or ReportsBusy."""
        async with (self._standby or self._ledger).connection() as connection:
            yield connection

    async def complete(self, reading: asyncpg.Connection, selection: Selection) -> Selection:
        """The selection with an `until`. A snapshot that `reading` takes afterwards has every
        entry up to it. Raises LedgerAway, BookersHang or StandbyBehind."""
        if self._standby is None:
            return await complete_selection(reading, selection)
        try:
            async with self._ledger.connection() as primary:
                completed = await complete_selection(primary, selection)
                reached = await primary.fetchval("SELECT pg_current_wal_lsn()::text")
                ledger_identity = tuple(await primary.fetchrow(_IDENTITY_SQL))
        except LedgerAway:
            return await self._complete_closed(reading, selection)
        identity = tuple(await reading.fetchrow(_IDENTITY_SQL))
        if identity == ledger_identity:  # the URL is another address of the ledger itself
            return completed
        if identity[:2] != ledger_identity[:2] or not await reading.fetchval(
            "SELECT pg_is_in_recovery()"
        ):
            raise StandbyBehind
        await _wait_replayed(reading, reached)
        return completed

    @asynccontextmanager
    async def snapshot(
        self, selection: Selection
    ) -> AsyncIterator[tuple[asyncpg.Connection, Selection]]:
        """A connection in a transaction with one snapshot, and the completed selection."""
        async with self.connection() as reading:
            selection = await self.complete(reading, selection)
            async with reading.transaction(isolation="repeatable_read", readonly=True):
                yield reading, await with_span(reading, selection)

    async def _complete_closed(
        self, reading: asyncpg.Connection, selection: Selection
    ) -> Selection:
        """The selection while the ledger is away: closed days are complete."""
        closed = await reading.fetchval(_LAST_CLOSED_SQL, selection.jurisdiction)
        if closed is None or selection.to_on > closed:
            raise LedgerAway("without the ledger only closed days can be read")
        days = selection.from_on, selection.to_on
        sealed: int = await reading.fetchval(_LAST_SEALED_SQL, selection.jurisdiction, *days)
        return replace(
            selection, until=sealed if selection.until is None else min(sealed, selection.until)
        )


async def _wait_replayed(reading: asyncpg.Connection, reached: str) -> None:
    """Wait until the standby has replayed the ledger's write-ahead log up to `reached`."""
    try:
        async with asyncio.timeout(BEHIND_MAX_S):
            while not await reading.fetchval(_REPLAYED_SQL, reached):  # noqa: ASYNC110
                await asyncio.sleep(REPLAY_POLL_S)
    except TimeoutError:
        raise StandbyBehind from None
