"""A reconciliation from start to end: stage the file, stage the ledger's units, pair them.

Both sides are staged in a temporary SQLite file, which sorts them by key. The operating system
removes the file however the process ends. So memory does not grow with the rows, but with those of
one key: all of them for movements, and the refunds of a platform's file. The ledger is only read.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, BinaryIO, NamedTuple

import asyncpg

from service.finance.files.faults import BadFile
from service.finance.files.open import opened_table
from service.finance.files.table import ROWS_MAX, PlatformTotal, RowsAside, Table
from service.finance.reconcile.ledger_units import ReconcileScope, movements_sql, units_sql
from service.finance.reconcile.mapping import (
    KEY_SEPARATOR,
    NO_KEY,
    BadFileRow,
    BadRowReason,
    ColumnMapping,
    FileRow,
    HeldBack,
    folded,
    read_head,
)
from service.finance.reconcile.movements import pair_movements
from service.finance.reconcile.pairing import PAIR_FINDINGS, LedgerUnit, Pair, pair_off
from service.finance.reconcile.profile_pairs import pair_off_bill, profile_use, rounded_off
from service.finance.reconcile.signs import is_refund

# All units of one key are held in memory. A key with more units identifies nothing.
UNITS_PER_KEY_MAX = 10_000
CHUNK = 10_000
SORTER_KIB = 32_000
# The share of the work that is done when the file is staged, and when the units are.
FILE_SHARE, BOOKS_SHARE = 0.45, 0.75
# A bill has thousands of these, and a person need not look at them.
UNLISTED = frozenset({"matched", "refunded", "unsubsidised"})
# Values of is_row: 0 is a unit, 1 a row.
REFUND_ROW = 2

STAGE = """
CREATE TABLE staged (
    key TEXT, is_row INTEGER, line INTEGER, amount_fen INTEGER, state TEXT,
    claim_id TEXT, line_no INTEGER, booked_on INTEGER, is_refund INTEGER,
    returned_fen INTEGER, returned_in_period_fen INTEGER);
CREATE TABLE bad_row (line INTEGER, why TEXT);
"""
INSERT_UNIT = "INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_ROW = """
INSERT INTO staged (key, is_row, line, amount_fen, state, is_refund) VALUES (?, ?, ?, ?, ?, ?)
"""
SORTED = """
    SELECT * FROM staged
    ORDER BY key, is_refund, is_row, line, claim_id, line_no, booked_on, amount_fen
"""
# The last two columns of a unit that is not compared with refunds.
NOT_RETURNED: tuple[int | None, ...] = (None, None)
OnProgress = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class FindingTotal:
    """A number of pairs, and their amounts: `here_fen` in the ledger, `there_fen` in the file."""

    count: int = 0
    here_fen: int = 0
    there_fen: int = 0

    def add(self, unit: LedgerUnit | None, row: FileRow | None) -> None:
        self.count += 1
        self.here_fen += unit.amount_fen if unit else 0
        self.there_fen += row.amount_fen if row else 0


def _totals() -> dict[str, FindingTotal]:
    return {finding: FindingTotal() for finding in PAIR_FINDINGS}


@dataclass(slots=True)
class ReconcileSummary:
    """`rows` counts the rows below the heading without the remarks, `bad_rows` the unreadable ones.
    `units` counts the ledger's units that were booked in the period. Each readable row, and each of
    these units, is in one of `findings`. `other_days`: the pairs whose unit was booked outside the
    period. `until_entry`: the last journal entry that was read.

    `rows_in_file` is the file's own count: the heading and the `skipped_rows` before it, the
    `remarks`, the bad rows, the rows in `findings`, and the `trailer_rows` that are skipped at the
    end. `rows_accounted` is their sum, and equal to
    it in a result. Both are null in results of release 0.1.0. `sheet`: empty for a csv.
    `heading_rows`: 0 or several in a platform's file. `totals`: what a platform's file says of its
    own rows, and what was read; they tie.

    With rows=movements, a unit is a payment or a refund that was booked in the period, and amounts
    are signed. `unmoved_rows` moved no money, by their state or because their amount is 0, and the
    ledger has no movement that they differ from. They are in none of `findings`. `joint_rows` are
    compared only in a sum with others, and so are `joint_units`: each is an item of its own, and
    the `count` of `matched` has the rows alone. `until_entry` is the last one of the period, so the
    result of a closed period never changes."""

    rows: int = 0
    bad_rows: int = 0
    there_fen: int = 0
    units: int = 0
    here_fen: int = 0
    until_entry: int = 0
    other_days: FindingTotal = field(default_factory=FindingTotal)
    findings: dict[str, FindingTotal] = field(default_factory=_totals)
    sheet: str = ""
    skipped_rows: int = 0
    remarks: int = 0
    trailer_rows: int = 0
    rows_accounted: int | None = None
    rows_in_file: int | None = None
    heading_rows: int = 1
    totals: list[PlatformTotal] = field(default_factory=list)
    unmoved_rows: int = 0
    joint_rows: int = 0
    joint_units: int = 0

    def add(self, pair: Pair, *, by_movement: bool = False) -> None:
        """Count a pair in its finding."""
        if pair.finding == "unmoved":
            self.unmoved_rows += 1
            return
        self.findings[pair.finding].add(pair.unit, pair.row)
        if not by_movement:
            return
        if pair.finding in ("matched", "amount_differs") and pair.unit is None:
            self.joint_rows += 1
        elif pair.finding == "matched" and pair.row is None:
            self.joint_units += 1
            self.findings[pair.finding].count -= 1

    def account(self, rows: int) -> None:
        """Check that `rows`, with the rows that are no sales, are all that the file has. Raises
        BadFile."""
        self.rows_accounted = (
            self.heading_rows + self.skipped_rows + self.remarks + self.trailer_rows + rows
        )
        if self.rows_accounted != self.rows_in_file:
            raise BadFile("rows_lost", rows=str(self.rows_in_file), read=str(self.rows_accounted))

    def paired_rows(self) -> int:
        """The rows of the file in `findings`."""
        return sum(part.count for name, part in self.findings.items() if name != "missing_there")


class ReconcileItem(NamedTuple):
    """A line of the list: a pair, or a bad row with its reason in `why`."""

    finding: str
    file_line: int | None = None
    key: str | None = None
    claim_id: str | None = None
    line_no: int | None = None
    booked_on: date | None = None
    here_fen: int | None = None
    there_fen: int | None = None
    here_state: str | None = None
    there_state: str | None = None
    why: BadRowReason | None = None


class ReconcileRun:
    """One reconciliation: stage the file, stage the ledger's units, read all items. Then `summary`
    is complete."""

    def __init__(
        self, scope: ReconcileScope, mapping: ColumnMapping, on_progress: OnProgress
    ) -> None:
        import sqlite3  # here: the server loads this module for its models, and stages nothing

        self.summary = ReconcileSummary()
        self.scope = scope
        self._mapping = mapping
        self._on_progress = on_progress
        self._stage = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode = OFF", "temp_store = FILE", f"cache_size = -{SORTER_KIB}"):
            self._stage.execute(f"PRAGMA {pragma}")
        self._stage.executescript(STAGE)
        self._stage.execute("BEGIN")

    def close(self) -> None:
        self._stage.close()

    async def stage_file(self, file: BinaryIO) -> None:
        """Read the whole file. Raises BadFile."""
        use = profile_use(self._mapping, self.scope.to_on)
        with opened_table(file, self._mapping.sheet, use) as table:
            try:
                await self._stage_table(table)
            except BadFile as bad:
                if table.sheet:
                    bad.facts.setdefault("sheet", table.sheet)
                raise

    async def _stage_table(self, table: Table) -> None:
        numbered = iter(table)
        reader, self.summary.skipped_rows, self.summary.remarks = read_head(numbered, self._mapping)
        self.summary.sheet = table.sheet
        rows = HeldBack(numbered, self._mapping.skip_end)
        read = (reader.read(line, cells) for line, cells in rows)
        while chunk := list(islice(read, CHUNK)):
            good = [row for row in chunk if isinstance(row, FileRow)]
            bad = [row for row in chunk if isinstance(row, BadFileRow)]
            self.summary.rows += len(good) + len(bad)
            self.summary.bad_rows += len(bad)
            self.summary.remarks += len(chunk) - len(good) - len(bad)
            self.summary.there_fen += sum(row.amount_fen for row in good)
            if self.summary.rows > ROWS_MAX:
                raise BadFile("too_many_rows")
            self._stage.executemany(INSERT_ROW, map(self._staged_row, good))
            self._stage.executemany(
                "INSERT INTO bad_row VALUES (?, ?)", ((row.line, row.why) for row in bad)
            )
            await self._on_progress(table.share() * FILE_SHARE)
        rows.check(reader)
        self._account_aside(table.aside, len(rows.held))
        self.summary.rows_in_file = table.rows_said()
        self.summary.account(self.summary.rows)

    def _account_aside(self, aside: RowsAside, held: int) -> None:
        self.summary.heading_rows = aside.headings
        self.summary.skipped_rows += aside.skipped
        self.summary.remarks += aside.remarks
        self.summary.trailer_rows = held + aside.trailer
        self.summary.totals = list(aside.totals)

    async def stage_books(self, connection: asyncpg.Connection, until: int) -> None:
        """Read the ledger's units in the caller's transaction. Its snapshot must be complete up to
        the entry `until`. Raises asyncpg's errors."""
        self.summary.until_entry = 0 if self._mapping.by_movement else until
        await connection.execute("SET LOCAL jit = off")
        arguments = self.scope.arguments(until)
        sql = movements_sql if self._mapping.by_movement else units_sql
        units = connection.cursor(sql(self.scope, self._mapping), *arguments, prefetch=CHUNK)
        chunk: list[Any] = []
        done = 0
        async for unit in units:
            chunk.append(unit)
            if len(chunk) == CHUNK:
                self._insert(map(self._staged_unit, chunk))
                chunk.clear()
                done += CHUNK
                # The total is not known: this approaches 1 and never reaches it.
                share = done / (done + max(self.summary.rows, CHUNK))
                await self._on_progress(FILE_SHARE + (BOOKS_SHARE - FILE_SHARE) * share)
        self._insert(map(self._staged_unit, chunk))
        await self._on_progress(BOOKS_SHARE)

    def _staged_unit(self, unit: Any) -> tuple[Any, ...]:
        key, claim_id, line_no, booked_on, amount_fen, state, *more = unit
        returned = NOT_RETURNED
        if self._mapping.by_movement:
            self.summary.until_entry = max(self.summary.until_entry, *more, 0)
        elif self._mapping.profile is not None:
            returned = tuple(more)
        if booked_on is not None and self.scope.from_on <= booked_on <= self.scope.to_on:
            self.summary.units += 1
            self.summary.here_fen += amount_fen
        day = None if booked_on is None else booked_on.toordinal()
        refund = self._mapping.by_movement and amount_fen < 0
        return folded(key), 0, None, amount_fen, state, claim_id, line_no, day, refund, *returned

    def _staged_row(self, row: FileRow) -> tuple[Any, ...]:
        refund = self._mapping.by_movement and is_refund(row.amount_fen, row.state)
        return row.key, 1 + row.is_refund, row.line, row.amount_fen, row.state, refund

    def _insert(self, staged: Any) -> None:
        self._stage.executemany(INSERT_UNIT, staged)

    async def items(self, *, with_matched: bool) -> AsyncIterator[ReconcileItem]:
        """Bad rows, then all differences by key; with `with_matched` also the equal pairs. Raises
        BadFile, at the end if a row of the file was in none of them."""
        bad_rows = 0
        for line, why in self._stage.execute("SELECT line, why FROM bad_row ORDER BY line"):
            bad_rows += 1
            yield ReconcileItem("bad_row", file_line=line, why=why)
        in_all = max(self.summary.rows + self.summary.units, 1)
        for done, (key, pair) in enumerate(self._pairs()):
            self.summary.add(pair, by_movement=self._mapping.by_movement)
            unit = pair.unit
            if unit is not None and unit.booked_on is not None and not unit.expected:
                self.summary.other_days.add(unit, pair.row)
            if pair.finding != "unmoved" and (with_matched or pair.finding not in UNLISTED):
                yield _item(pair, key)
            if done % CHUNK == 0:
                share = BOOKS_SHARE + (1 - BOOKS_SHARE) * min(done / in_all, 1)
                await self._on_progress(share)
        paired_rows = self.summary.paired_rows() + self.summary.unmoved_rows
        self.summary.account(bad_rows + paired_rows)

    def _pairs(self) -> Iterator[tuple[str, Pair]]:
        for (key, _), group in groupby(self._stage.execute(SORTED), key=itemgetter(0, 8)):
            staged = iter(group)
            readable_key = str(key).replace(KEY_SEPARATOR, " ").lstrip(NO_KEY)
            units: list[LedgerUnit] = []
            first_row = None
            for record in staged:
                if record[1]:  # is_row: units sort before rows, payments before refunds
                    first_row = record
                    break
                if len(units) == UNITS_PER_KEY_MAX:
                    raise BadFile("key_too_common")
                units.append(self._unit(record))
            rows = [] if first_row is None else _rows(first_row, staged)
            if self._mapping.by_movement:
                pairs = pair_movements(units, list(rows))
            elif self._mapping.profile is None:
                pairs = pair_off(units, rows)
            else:
                pairs = pair_off_bill(units, rows, self._mapping.profile)
            if self._mapping.profile is not None and self._mapping.amount_is != "price":
                pairs = rounded_off(pairs, self._mapping.profile)
            for pair in pairs:
                yield readable_key, pair

    def _unit(self, record: Any) -> LedgerUnit:
        _, _, _, amount_fen, state, claim_id, line_no, day, _, *returned = record
        booked_on = None if day is None else date.fromordinal(day)
        expected = booked_on is not None and self.scope.from_on <= booked_on <= self.scope.to_on
        return LedgerUnit(claim_id, line_no, amount_fen, state, booked_on, expected, *returned)


def _rows(first: Any, rest: Iterator[Any]) -> Iterator[FileRow]:
    for record in chain([first], rest):
        yield FileRow(record[2], record[0], record[3], record[4], record[1] == REFUND_ROW)


def _item(pair: Pair, key: str) -> ReconcileItem:
    unit, row = pair.unit, pair.row
    return ReconcileItem(
        finding=pair.finding,
        file_line=row.line if row else None,
        key=key,
        claim_id=unit.claim_id if unit else None,
        line_no=unit.line_no if unit else None,
        booked_on=unit.booked_on if unit else None,
        here_fen=unit.amount_fen if unit else None,
        there_fen=row.amount_fen if row else None,
        here_state=unit.state if unit else None,
        there_state=row.state if row else None,
    )
