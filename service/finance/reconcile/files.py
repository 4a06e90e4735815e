"""Reads the rows of a CSV file or a workbook as a stream, in constant memory."""

import codecs
import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Literal

from service.finance.reconcile.mapping import BadHeading, ColumnMapping, RowReader, text_of

FileKind = Literal["csv", "xlsx"]
FileFault = Literal[
    "unreadable", "missing_columns", "repeated_columns", "too_many_rows", "no_rows",
    "key_too_common", "interrupted", "ledger_unavailable",
]  # fmt: skip

ROWS_MAX = 1_000_000
PIECE_BYTES = 1 << 20
# A workbook of ROWS_MAX rows unpacks to less. More is an attack.
UNPACKED_MAX_BYTES = 2 << 30


class BadFile(Exception):
    """The whole file cannot be used. `facts` fill the gaps in the sentence of `fault`."""

    def __init__(self, fault: FileFault, **facts: str) -> None:
        super().__init__(fault, facts)
        self.fault = fault
        self.facts = facts

    def __str__(self) -> str:
        return ", ".join([self.fault, *self.facts.values()])


def reader_of(mapping: ColumnMapping, heading: Sequence[Any]) -> RowReader:
    """A reader for the rows under this heading. Raises BadFile."""
    try:
        return RowReader(mapping, heading)
    except BadHeading as bad:
        raise BadFile(bad.fault, columns=", ".join(bad.columns)) from None


class Rows:
    """(line, cells) of each row, the heading first. Lines count from 1. Skips empty rows and rows
    that begin with #. The iteration raises BadFile."""

    def __init__(self, file: BinaryIO, size: int, skip: int = 0) -> None:
        self.kind: FileKind = "xlsx" if file.read(4) == b"PK\x03\x04" else "csv"
        file.seek(0)
        self._file = file
        self._size = max(size, 1)
        self._skip = skip
        self._rows_in_all = ROWS_MAX
        self._line = 0

    def share(self) -> float:
        """The share of the file that is read, from 0 to 1."""
        if self.kind == "csv":
            return min(self._file.tell() / self._size, 1)
        return min(self._line / self._rows_in_all, 1)

    def __iter__(self) -> Iterator[tuple[int, Sequence[Any]]]:
        rows = self._csv() if self.kind == "csv" else self._xlsx()
        for line, cells in rows:
            self._line = line
            if line > self._skip and cells and not text_of(cells[0]).startswith("#"):
                yield line, cells

    def _csv(self) -> Iterator[tuple[int, Sequence[Any]]]:
        encoding = _encoding(self._file)
        text = io.TextIOWrapper(self._file, encoding, newline="")
        reader = csv.reader(text)
        line = 1
        try:
            for cells in reader:
                if any(cells):
                    yield line, cells
                line = reader.line_num + 1
        except (csv.Error, UnicodeDecodeError):
            raise BadFile("unreadable", line=str(line)) from None
        finally:
            if not self._file.closed:  # it is, if a fault ended the iteration early
                text.detach()

    def _xlsx(self) -> Iterator[tuple[int, Sequence[Any]]]:
        from openpyxl import load_workbook

        _check_archive(self._file)
        line = 0
        try:
            book = load_workbook(self._file, read_only=True, data_only=True)
            sheet = book.worksheets[0]
            self._rows_in_all = min(sheet.max_row or ROWS_MAX, ROWS_MAX)
            sheet.reset_dimensions()  # the size that a file declares can be wrong
            for line, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
                if any(cell is not None for cell in cells):
                    yield line, cells
                elif line > ROWS_MAX + self._skip:
                    raise BadFile("too_many_rows")
        except (BadFile, GeneratorExit):
            raise
        except Exception:  # the library raises any error on a damaged file
            raise BadFile("unreadable", line=str(line + 1)) from None


def _encoding(file: BinaryIO) -> str:
    """UTF-8 if the whole file is valid UTF-8, else GB 18030, which Chinese Excel writes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while piece := file.read(PIECE_BYTES):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "gb18030"
    finally:
        file.seek(0)
    return "utf-8-sig"


def _check_archive(file: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError):
        raise BadFile("unreadable", line="1") from None
    finally:
        file.seek(0)
    if unpacked > UNPACKED_MAX_BYTES:
        raise BadFile("too_many_rows")
