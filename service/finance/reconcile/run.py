"""A reconciliation from beginning to end: stage the file, stage the books, pair them off.

Both sides are staged in a private SQLite file that the system removes however we end, and come
out of it sorted by key. So memory does not grow with the rows, and the ledger only reads.
"""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby, islice
from typing import Any, BinaryIO, NamedTuple

import asyncpg

from service.finance.reconcile.files import ROWS_MAX, BadFile, Rows, reader_of
from service.finance.reconcile.here import Scope, units_sql
from service.finance.reconcile.mapping import (
    KEY_SEPARATOR,
    NO_KEY,
    BadRow,
    Mapping,
    Row,
    Why,
)
from service.finance.reconcile.pairing import FINDINGS, Pair, Unit, pair

# A key that so many units have is none; and they are held at once.
UNITS_PER_KEY_MAX = 10_000
CHUNK = 10_000
SORTER_KIB = 32_000
# What part of the work is done when the file is read, and when the books are.
FILE_SHARE, BOOKS_SHARE = 0.45, 0.75

STAGE = """
CREATE TABLE staged (
    key TEXT, is_row INTEGER, line INTEGER, amount_fen INTEGER, state TEXT,
    claim_id TEXT, line_no INTEGER, booked_on INTEGER);
CREATE TABLE bad_row (line INTEGER, why TEXT);
"""
SORTED = "SELECT * FROM staged ORDER BY key, is_row, line, claim_id, line_no"
OnProgress = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class FindingTotal:
    """`here_fen` is what the books have, `there_fen` what the file says."""

    count: int = 0
    here_fen: int = 0
    there_fen: int = 0

    def add(self, unit: Unit | None, row: Row | None) -> None:
        self.count += 1
        self.here_fen += unit.amount_fen if unit else 0
        self.there_fen += row.amount_fen if row else 0


def _parts() -> dict[str, FindingTotal]:
    return {finding: FindingTotal() for finding in FINDINGS}


@dataclass(slots=True)
class Summary:
    """`rows` of the file are good or bad; each good one is in one of `findings`, and so is each
    unit of the books that was booked in the period (`units`). Of those paired, `other_days` were
    booked outside it. `until_entry`: the last entry of the books that was looked at."""

    rows: int = 0
    bad_rows: int = 0
    there_fen: int = 0
    units: int = 0
    here_fen: int = 0
    until_entry: int = 0
    other_days: FindingTotal = field(default_factory=FindingTotal)
    findings: dict[str, FindingTotal] = field(default_factory=_parts)


class Item(NamedTuple):
    """A line of the list: a pair, or a bad row (then `finding` is bad_row, and `why` says)."""

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
    why: Why | None = None


class Run:
    """One reconciliation. Stage both sides, then take the items: then `summary` is whole."""

    def __init__(self, scope: Scope, mapping: Mapping, on_progress: OnProgress) -> None:
        self.summary = Summary()
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

    async def stage_file(self, file: BinaryIO, size: int) -> None:
        """Raises BadFile."""
        rows = Rows(file, size, self._mapping.skip)
        numbered = iter(rows)
        try:
            reader = reader_of(self._mapping, next(numbered)[1])
        except StopIteration:
            raise BadFile("no_rows") from None
        read = (reader.read(line, cells) for line, cells in numbered)
        while chunk := list(islice(read, CHUNK)):
            good = [one for one in chunk if isinstance(one, Row)]
            bad = [one for one in chunk if isinstance(one, BadRow)]
            self.summary.rows += len(chunk)
            self.summary.bad_rows += len(bad)
            self.summary.there_fen += sum(row.amount_fen for row in good)
            if self.summary.rows > ROWS_MAX:
                raise BadFile("too_many_rows")
            self._insert((r.key, 1, r.line, r.amount_fen, r.state, None, None, None) for r in good)
            self._stage.executemany(
                "INSERT INTO bad_row VALUES (?, ?)", ((one.line, one.why) for one in bad)
            )
            await self._on_progress(rows.share() * FILE_SHARE)

    async def stage_books(self, connection: asyncpg.Connection, until: int) -> None:
        """In the caller's transaction, whose snapshot is complete up to the entry `until`."""
        self.summary.until_entry = until
        await connection.execute("SET LOCAL jit = off")
        arguments = self.scope.arguments(until)
        units = connection.cursor(units_sql(self.scope, self._mapping), *arguments, prefetch=CHUNK)
        chunk: list[Any] = []
        done = 0
        async for unit in units:
            chunk.append(unit)
            if len(chunk) == CHUNK:
                self._insert(map(self._of_the_books, chunk))
                chunk.clear()
                done += CHUNK
                # How many there are is not known: this comes near the end, and never there.
                share = done / (done + max(self.summary.rows, CHUNK))
                await self._on_progress(FILE_SHARE + (BOOKS_SHARE - FILE_SHARE) * share)
        self._insert(map(self._of_the_books, chunk))
        await self._on_progress(BOOKS_SHARE)

    def _of_the_books(self, unit: Any) -> tuple[Any, ...]:
        key, claim_id, line_no, booked_on, amount_fen, state = unit
        if booked_on is not None and self.scope.from_on <= booked_on <= self.scope.to_on:
            self.summary.units += 1
            self.summary.here_fen += amount_fen
        day = None if booked_on is None else booked_on.toordinal()
        return key, 0, None, amount_fen, state, claim_id, line_no, day

    def _insert(self, staged: Any) -> None:
        self._stage.executemany("INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?, ?)", staged)

    async def items(self, *, with_matched: bool) -> AsyncIterator[Item]:
        """What is to be listed: bad rows, then all differences by key. Raises BadFile."""
        for line, why in self._stage.execute("SELECT line, why FROM bad_row ORDER BY line"):
            yield Item("bad_row", file_line=line, why=why)
        in_all = max(self.summary.rows + self.summary.units, 1)
        for done, (key, one) in enumerate(self._pairs()):
            part = self.summary.findings[one.finding]
            part.add(one.unit, one.row)
            unit = one.unit
            if unit is not None and unit.booked_on is not None and not unit.expected:
                self.summary.other_days.add(unit, one.row)
            if with_matched or one.finding != "matched":
                yield _item(one, key)
            if done % CHUNK == 0:
                share = BOOKS_SHARE + (1 - BOOKS_SHARE) * min(done / in_all, 1)
                await self._on_progress(share)

    def _pairs(self) -> Iterator[tuple[str, Pair]]:
        for key, group in groupby(self._stage.execute(SORTED), key=lambda one: one[0]):
            staged = iter(group)
            shown = str(key).replace(KEY_SEPARATOR, " ").lstrip(NO_KEY)
            units: list[Unit] = []
            first_row = None
            for one in staged:
                if one[1]:
                    first_row = one
                    break
                if len(units) == UNITS_PER_KEY_MAX:
                    raise BadFile("key_too_common")
                units.append(self._unit(one))
            rows = [] if first_row is None else _rows(first_row, staged)
            for one in pair(units, rows):
                yield shown, one

    def _unit(self, one: Any) -> Unit:
        _, _, _, amount_fen, state, claim_id, line_no, day = one
        booked_on = None if day is None else date.fromordinal(day)
        expected = booked_on is not None and self.scope.from_on <= booked_on <= self.scope.to_on
        return Unit(claim_id, line_no, amount_fen, state, booked_on, expected)


def _rows(first: Any, rest: Iterator[Any]) -> Iterator[Row]:
    yield Row(first[2], first[0], first[3], first[4])
    for one in rest:
        yield Row(one[2], one[0], one[3], one[4])


def _item(one: Pair, key: str) -> Item:
    unit, row = one.unit, one.row
    return Item(
        finding=one.finding,
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
