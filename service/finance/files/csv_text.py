"""A csv file, with quotation marks as strictly read as its rows need."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO

from service.finance.files.faults import BadFile
from service.finance.files.lines import broken_line, encoding_of
from service.finance.files.table import NOTHING_ASIDE

# A cell that is longer holds rows, or is an attack.
csv.field_size_limit(1 << 17)

_LINE_END = re.compile("\r\n|\r|\n")


class CsvTable:
    """Rows parted by commas, or by tabs where the first row has those alone."""

    sheet = ""
    aside = NOTHING_ASIDE

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = max(size, 1)
        self._lines = 0
        self._filled_lines = 0  # those that are not blank
        self._rows_said = 0

    def rows_said(self) -> int:
        """The lines that are not blank, less those in which a quoted cell goes on."""
        return self._rows_said + self._filled_lines

    def share(self) -> float:
        return min(self._file.tell() / self._size, 1)

    def __iter__(self) -> Iterator[tuple[int, Sequence[Any]]]:
        text = io.TextIOWrapper(self._file, encoding_of(self._file), newline="")
        try:
            yield from self._rows(self._counted(text))
        except UnicodeDecodeError:
            line = broken_line(self._file, text.encoding)
            raise BadFile("bad_character", line=str(line)) from None
        finally:
            if not self._file.closed:  # as it is when rows are left in the middle for a fault
                text.detach()

    def _counted(self, text: io.TextIOWrapper) -> Iterator[str]:
        for line in text:
            self._lines += 1
            if line.isspace():
                yield "\n"
            else:
                self._filled_lines += 1
                yield line

    def _rows(self, lines: Iterator[str]) -> Iterator[tuple[int, Sequence[Any]]]:
        first = next(lines, None)
        if first is None:
            return
        tabs = "\t" in first and "," not in first
        comma = "\t" if tabs else ","
        reader = csv.reader(chain([first], lines), strict=True, delimiter=comma)
        line, filled, width = 1, 0, 0  # `width`: cells of the row before
        try:
            for cells in reader:
                if reader.line_num > line:
                    _check_quotes(cells, line, comma, width)
                    self._rows_said -= self._filled_lines - filled - 1
                if any(cells):
                    yield line, cells
                    width = len(cells)
                elif cells:
                    self._rows_said -= 1  # separators alone
                line, filled = reader.line_num + 1, self._filled_lines
        except csv.Error:
            raise BadFile("open_quote", line=str(line)) from None


def _check_quotes(cells: Sequence[str], line: int, comma: str, width: int) -> None:
    """A cell may have line ends in it; but one in which whole rows stand was opened by a quotation
    mark that means an inch. Raises BadFile."""
    for place, cell in enumerate(cells):
        _, *inside = _LINE_END.split(cell)
        if not inside:
            continue
        *middle, last = inside
        rows = any(one.count(comma) >= max(width - 1, 1) for one in middle)
        # The mark that closes it stands where this row's opened it: in a row that was swallowed.
        if rows or (place and last.count(comma) >= place):
            raise BadFile("open_quote", line=str(line))
