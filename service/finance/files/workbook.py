"""A sheet of a workbook (.xlsx), read row by row by openpyxl.

What the sheet's own XML has is counted apart, by the parser alone: so a row that the library does
not give out is noticed.
"""

import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from service.finance.files.faults import BadFile
from service.finance.files.table import NOTHING_ASIDE, ROWS_MAX

# What a workbook of a million rows could unpack to; more is no workbook but an attack.
UNPACKED_MAX_BYTES = 2 << 30
SHEETS_MAX = 100
PIECE_BYTES = 1 << 20
NAMES_SHOWN = 10

_OLD = b"\xd0\xcf\x11\xe0"
_STRICT = b"purl.oclc.org/ooxml"


class WorkbookTable:
    """One sheet: the named one, or the only one that has rows."""

    aside = NOTHING_ASIDE

    def __init__(self, file: BinaryIO, sheet: str | None = None) -> None:
        self._file = file
        self._named = sheet
        self._line = 0
        self._rows_in_all = ROWS_MAX
        self._rows_said = 0
        self.sheet = ""

    def rows_said(self) -> int:
        return self._rows_said

    def share(self) -> float:
        return min(self._line / self._rows_in_all, 1)

    def __iter__(self) -> Iterator[tuple[int, Sequence[Any]]]:
        from openpyxl import load_workbook

        _check_container(self._file)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of styles and extensions, which say no rows
                book = load_workbook(self._file, read_only=True, data_only=True)
                sheet, counter = self._choose(book)
                self.sheet = str(sheet.title)
                self._rows_said = counter.rows
                self._rows_in_all = len(counter.filled)
                sheet.reset_dimensions()  # what a file says of its size is not to be believed
                yield from self._rows(sheet, counter.filled)
        except (BadFile, GeneratorExit):
            raise
        except Exception:  # whatever a library makes of a spoilt file
            raise BadFile("unreadable", line=str(self._line + 1)) from None

    def _rows(self, sheet: Any, filled: bytearray) -> Iterator[tuple[int, Sequence[Any]]]:
        for self._line, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            if self._line > ROWS_MAX + 1000:
                raise BadFile("too_many_rows")
            if self._line < len(filled) and filled[self._line]:
                yield self._line, cells

    def _choose(self, book: Any) -> tuple[Any, "_RowCounter"]:
        if len(book.worksheets) > SHEETS_MAX:
            raise BadFile("too_many_sheets")
        names = ", ".join(str(one.title) for one in book.worksheets[:NAMES_SHOWN])
        if self._named is not None:
            for sheet in book.worksheets:
                if sheet.title == self._named:
                    return sheet, self._count_rows(sheet)
            raise BadFile("no_such_sheet", sheet=self._named, sheets=names)
        counted = [(sheet, self._count_rows(sheet)) for sheet in book.worksheets]
        with_rows = [(sheet, counter) for sheet, counter in counted if counter.rows]
        if len(with_rows) > 1:
            names = ", ".join(str(sheet.title) for sheet, _ in with_rows[:NAMES_SHOWN])
            raise BadFile("which_sheet", sheets=names)
        if not with_rows:
            raise BadFile("no_rows")
        return with_rows[0]

    def _count_rows(self, sheet: Any) -> "_RowCounter":
        counter = _RowCounter()
        path = sheet._worksheet_path
        with zipfile.ZipFile(self._file) as archive, archive.open(path) as part:
            while piece := part.read(PIECE_BYTES):
                counter.feed(piece)
        self._file.seek(0)
        return counter


class _RowCounter:
    """Counts the rows of a sheet's XML that have a value or a formula in a cell. `filled` is 1 at
    their lines. Two rows of one line are counted as two."""

    def __init__(self) -> None:
        from xml.parsers import expat  # here: the server loads this module, and reads no workbook

        self.rows = 0
        self.filled = bytearray(1)
        self._row = 0
        self._is_counted = False
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.StartDoctypeDeclHandler = self._refuse

    def feed(self, piece: bytes) -> None:
        self._parser.Parse(piece, False)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._is_counted and not name.endswith("row"):
            return  # most elements, in a hot loop
        tag = name.rpartition(":")[2]
        if tag == "row":
            self._row = int(attributes.get("r", self._row + 1))
            if self._row > ROWS_MAX + 1000:
                raise BadFile("too_many_rows")
            if self._row >= len(self.filled):
                self.filled.extend(bytes(self._row + 1 - len(self.filled)))
            self._is_counted = False
        elif tag in ("v", "f", "is"):
            self.filled[self._row] = 1
            self.rows += 1
            self._is_counted = True

    def _refuse(self, *_: Any) -> None:
        raise BadFile("unreadable", line="1")


def is_old_workbook(head: bytes) -> bool:
    """Whether a file that begins so is an .xls, or a workbook with a password."""
    return head.startswith(_OLD)


def is_workbook(archive: zipfile.ZipFile) -> bool:
    return "[Content_Types].xml" in archive.namelist()


def _check_container(file: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > UNPACKED_MAX_BYTES:
                raise BadFile("too_many_rows")
            root = next((n for n in archive.namelist() if re.fullmatch("xl/workbook.*xml", n)), "")
            if root and _STRICT in archive.read(root)[:4096]:
                raise BadFile("strict_workbook")
            sheets = sum(name.startswith("xl/worksheets/") for name in archive.namelist())
            if sheets > SHEETS_MAX:
                raise BadFile("too_many_sheets")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        raise BadFile("unreadable", line="1") from None
    finally:
        file.seek(0)
