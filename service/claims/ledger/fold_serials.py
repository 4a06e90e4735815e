"""Adds the folded serial numbers of claims that release 0.1.0 made, while claims go on.

Release 0.1.0 holds a serial number as it was typed, in upper case. This release holds the folded
spelling as well (`identifiers.py`), so a claim of 0.1.0 is found under its own spelling only. The
command adds the folded one, and changes nothing else. Two live claims of 0.1.0 may fold to one
serial number: a clash. The first keeps the folded spelling; both keep their own, and are listed.

A pass walks the lines whose serial number is not typed as it folds, in pages, each of them in a
transaction of its own. It locks the claims of lines that need a change, so that none of them is
refunded meanwhile. But a refund that waits for the lock does not see a row that was added after its
statement began, and leaves it behind. The next pass removes that row. So passes are repeated, with
a pause in which such statements end, until one has nothing to change.

It may be interrupted and run again, and is run after every worker of 0.1.0 has ended.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

import asyncpg

from service.claims.ledger.retry import retried
from service.db.engine import STATEMENT_S

# A page holds its claims' locks for milliseconds, and a refund of one of them waits that long.
LINES_MAX = 500
# After this time every statement that began before has ended.
SETTLED_S = STATEMENT_S + 1

# A line, and who holds its folded serial number: itself, another line, or none.
_PAGE_SQL = """
WITH page AS (
    SELECT claim_id, line_no, serial_no, folded_serial(serial_no) AS folded,
        state IN ('reserved', 'confirmed') AS live
    FROM claim_line
    WHERE serial_no <> folded_serial(serial_no)
        AND (folded_serial(serial_no), claim_id, line_no) > ($2, $3, $4)
    ORDER BY folded_serial(serial_no), claim_id, line_no
    LIMIT $5
)
SELECT page.*, c.jurisdiction = $1 AS ours, s.claim_id AS holder, s.line_no AS holder_line,
    h.serial_no AS holder_serial
FROM page JOIN claim AS c USING (claim_id)
LEFT JOIN serial_claimed AS s ON s.jurisdiction = $1 AND s.serial_no = page.folded
LEFT JOIN claim_line AS h ON h.claim_id = s.claim_id AND h.line_no = s.line_no
ORDER BY page.folded, page.claim_id, page.line_no
"""
# A statement that ends or refunds one of these claims locks the same row.
_LOCK_SQL = """
SELECT claim_id FROM claim WHERE jurisdiction = $1 AND claim_id = ANY ($2::uuid[])
ORDER BY claim_id FOR NO KEY UPDATE
"""
_FOLD_SQL = (Path(__file__).parent / "fold_serials.sql").read_text()


@dataclass(frozen=True, slots=True)
class SerialLine:
    """A live line and its serial number as typed."""

    claim_id: UUID
    line_no: int
    serial_no: str


@dataclass(frozen=True, slots=True)
class SerialClash:
    """Two live lines whose serial numbers fold to one. `holder` has the folded spelling."""

    folded: str
    holder: SerialLine
    other: SerialLine


@dataclass(slots=True)
class SerialFolding:
    """The command's work on one ledger. `changed` rows so far; `clashes` of the present pass."""

    connection: asyncpg.Connection
    jurisdiction: str
    changed: int = 0
    clashes: list[SerialClash] = field(default_factory=list)
    _is_done: bool = False  # nothing of the present pass needed a change so far

    async def run(self) -> AsyncIterator[int]:
        """Repeat the pass until nothing needs a change. Yields the number of lines of each page.
        Raises asyncpg's errors."""
        while not self._is_done:
            self._is_done = True
            self.clashes = []
            async for lines in self._pass():
                yield lines
            if not self._is_done:
                await asyncio.sleep(SETTLED_S)

    async def _pass(self) -> AsyncIterator[int]:
        after: tuple[str, UUID, int] = ("", UUID(int=0), 0)
        while page := await self.connection.fetch(_PAGE_SQL, self.jurisdiction, *after, LINES_MAX):
            ours = [row for row in page if row["ours"]]
            self.clashes += [_clash(row) for row in ours if _is_clash(row)]
            if to_change := [row for row in ours if _needs_change(row)]:
                self._is_done = False
                self.changed += await retried(partial(self._fold, to_change))
            yield len(page)
            after = (page[-1]["folded"], page[-1]["claim_id"], page[-1]["line_no"])

    async def _fold(self, rows: list[asyncpg.Record]) -> int:
        claims = [row["claim_id"] for row in rows]
        lines = [row["line_no"] for row in rows]
        async with self.connection.transaction():
            await self.connection.fetch(_LOCK_SQL, self.jurisdiction, claims)
            # A new statement has a new snapshot: it sees what the lock had to wait for.
            changed: int = await self.connection.fetchval(
                _FOLD_SQL, self.jurisdiction, claims, lines
            )
        return changed


def _holds(row: asyncpg.Record) -> bool:
    return bool((row["holder"], row["holder_line"]) == (row["claim_id"], row["line_no"]))


def _needs_change(row: asyncpg.Record) -> bool:
    return row["holder"] is None if row["live"] else _holds(row)


def _is_clash(row: asyncpg.Record) -> bool:
    return row["live"] and row["holder"] is not None and not _holds(row)


def _clash(row: asyncpg.Record) -> SerialClash:
    return SerialClash(
        row["folded"],
        SerialLine(row["holder"], row["holder_line"], row["holder_serial"]),
        SerialLine(row["claim_id"], row["line_no"], row["serial_no"]),
    )
