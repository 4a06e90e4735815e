"""The rows of workbooks under a known heading, which may have lines before it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from service.finance.files.cells import fen_of, is_error, text_of
from service.finance.files.faults import BadFile
from service.finance.files.profiles.profile import (
    ADDED,
    ProfileTable,
    ProfileUse,
    RowKind,
    tie,
    yuan_text,
)
from service.finance.files.workbook import WorkbookTable

HEADING_WITHIN = 10
TOTAL_WORDS = frozenset({"合计", "总计"})


class SheetTable(ProfileTable):
    """The rows of one sheet of each workbook. The columns are those of the first one's heading, and
    others give theirs by name. A subclass knows the headings."""

    # The headings that a row of rows must have to be the heading, and what else they are called.
    required: frozenset[str]
    aliases: Mapping[str, str] = {}
    order_no: str
    are_workbooks = True

    def __init__(self, members: Sequence[BinaryIO], use: ProfileUse) -> None:
        super().__init__(members, use)
        self._sum_fen = 0
        self._table: WorkbookTable | None = None

    def _rows(self, member: BinaryIO, before: int) -> Iterator[tuple[int, Sequence[Any]]]:
        self._table = table = WorkbookTable(member, self._use.sheet)
        rows = iter(table)
        line, names = self._find_heading(rows, before)
        self.sheet = self.sheet or table.sheet
        self.aside.headings += 1
        if self._heading is None:
            self._heading = tuple(names)
            yield before + line, [*names, *ADDED]
        places = [names.index(name) if name in names else None for name in self._heading]
        self._last_line = line
        for line, cells in rows:
            self._last_line = line
            row = [None if at is None or at >= len(cells) else cells[at] for at in places]
            named = dict(zip(self._heading, row, strict=True))
            if self._is_total(named):
                self._tie(named)
            else:
                yield before + line, [*row, *self._added(named)]
        self._rows_said += table.rows_said()

    def _lines_of(self, member: BinaryIO) -> int:
        return self._last_line

    def share(self) -> float:
        return 0 if self._table is None else self._table.share()

    def _find_heading(
        self, rows: Iterator[tuple[int, Sequence[Any]]], before: int
    ) -> tuple[int, list[str]]:
        best: frozenset[str] = frozenset()
        for line, cells in rows:
            names = [self.aliases.get(name, name) for name in map(text_of, cells)]
            if self.required <= set(names):
                return line, names
            best = max(best, self.required & set(names), key=len)
            self.aside.skipped += 1
            if self.aside.skipped == HEADING_WITHIN:
                break
        lacking = ", ".join(sorted(self.required - best))
        raise BadFile("missing_columns", columns=lacking, line=str(before + 1))

    def _is_total(self, row: Mapping[str, Any]) -> bool:
        return not text_of(row[self.order_no]) and any(
            isinstance(cell, str) and text_of(cell).removesuffix("：") in TOTAL_WORDS
            for cell in row.values()
        )

    def _tie(self, row: Mapping[str, Any]) -> None:
        """Compare a total at the end with the rows before it. Raises BadFile."""
        self.aside.trailer += 1
        stated_fen = fen_of(row.get(self._use.amount), in_yuan=True)
        if stated_fen is not None:
            name = f"合计 {self._use.amount}"
            tie(self.aside.totals, name, yuan_text(stated_fen), self._sum_fen, is_count=False)

    def _added(self, row: Mapping[str, Any]) -> tuple[Any, RowKind]:
        cell = row.get(self._use.amount)
        fen = fen_of(cell, in_yuan=True)
        if fen is None:  # the reader says why, from a cell that is no number
            return (cell if isinstance(cell, bool) or is_error(cell) else None), "payment"
        self._sum_fen += fen
        return fen, "refund" if fen < 0 else "payment"
