"""The rows of workbooks under a known heading, which may have lines before it."""

import re
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
ORDER_LIKE = re.compile(r"[\w./-]*\d[\w./-]*", re.ASCII)
TOTAL_WORDS = frozenset({"合计", "总计"})


class SheetTable(ProfileTable):
    """The rows of one sheet of each workbook. The columns are those of the first one's heading, and
    others give theirs by name. A subclass knows the headings."""

    # The headings that a row of rows must have to be the heading, and what else they are called.
    required: frozenset[str]
    aliases: Mapping[str, str] = {}
    keys: Sequence[str]  # a row that has one of them is a sale
    are_workbooks = True

    def __init__(self, members: Sequence[BinaryIO], use: ProfileUse) -> None:
        super().__init__(members, use)
        self._sum_fen = 0  # in the present workbook
        self._table: WorkbookTable | None = None

    def _rows(self, member: BinaryIO, before: int) -> Iterator[tuple[int, Sequence[Any]]]:
        self._table = table = WorkbookTable(member, self._use.sheet)
        self._sum_fen = 0
        rows = iter(table)
        line, names = self._find_heading(rows, before)
        self.sheet = self.sheet or table.sheet
        self.aside.headings += 1
        if self._heading is None:
            self._heading = tuple(names)
            yield before + line, [*names, *ADDED]
        if repeated := [name for name in set(names) if name and names.count(name) > 1]:
            raise BadFile("repeated_columns", columns=", ".join(sorted(repeated)), line=str(line))
        places = [names.index(name) if name in names else None for name in self._heading]
        self._last_line = line
        for line, cells in rows:
            self._last_line = line
            row = [None if at is None or at >= len(cells) else cells[at] for at in places]
            named = dict(zip(self._heading, row, strict=True))
            if any(map(text_of, cells[len(names) :])):
                yield before + line, [*row, None, "too_many_cells"]
            elif self._is_total(named):
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
        for skipped, (line, cells) in enumerate(rows, start=1):
            names = [self.aliases.get(name, name) for name in map(text_of, cells)]
            if self.required <= set(names):
                return line, names
            best = max(best, self.required & set(names), key=len)
            if _looks_like_a_sale(cells):
                raise BadFile("sale_in_head", line=str(before + line))
            self.aside.skipped += 1
            if skipped == HEADING_WITHIN:
                break
        lacking = ", ".join(sorted(self.required - best))
        raise BadFile("missing_columns", columns=lacking, line=str(before + 1))

    def _is_total(self, row: Mapping[str, Any]) -> bool:
        """A row without the keys of a sale that begins with the word, and has an amount."""
        filled = [text for cell in row.values() if (text := text_of(cell))]
        return (
            not any(text_of(row.get(name)) for name in self.keys)
            and filled[0].removesuffix("：") in TOTAL_WORDS
            and fen_of(row.get(self._use.amount), in_yuan=True) is not None
        )

    def _tie(self, row: Mapping[str, Any]) -> None:
        """Compare a total at the end with the rows before it. Raises BadFile."""
        self.aside.trailer += 1
        stated_fen = fen_of(row.get(self._use.amount), in_yuan=True)
        assert stated_fen is not None, "Bug! A total has an amount."
        name = f"合计 {self._use.amount}"
        tie(self.aside.totals, name, yuan_text(stated_fen), self._sum_fen, is_count=False)

    def _added(self, row: Mapping[str, Any]) -> tuple[Any, RowKind]:
        cell = row.get(self._use.amount)
        fen = fen_of(cell, in_yuan=True)
        if fen is None:  # the reader says why, from a cell that is no number
            return (cell if isinstance(cell, bool) or is_error(cell) else None), "payment"
        self._sum_fen += fen
        return fen, "refund" if fen < 0 else "payment"


def _looks_like_a_sale(cells: Sequence[Any]) -> bool:
    """Whether the row has an amount, and another cell that could be the number of an order."""
    texts = [text_of(cell) for cell in cells]
    amounts = [fen_of(cell, in_yuan=True) is not None for cell in cells]
    return any(amounts) and any(
        ORDER_LIKE.fullmatch(text) and not amount
        for text, amount in zip(texts, amounts, strict=True)
    )
