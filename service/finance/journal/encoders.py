"""Parquet files and workbooks from the output of PostgreSQL's COPY, in constant memory.

The libraries are large. They are imported for the first such file, so a worker that only takes
claims stays small. Each method can take milliseconds: call it in a thread.
"""

import io
import re
import zipfile
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from service.finance.journal.columns import ExportColumn

# Lines of one row group: enough for its dictionaries to save space, and small in memory.
BLOCK_BYTES = 4 * 1024 * 1024
# The time of creation in a file. It is constant: a closed day always gives the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Encoder(Protocol):
    """Turns pieces of COPY output into pieces of the file."""

    def feed(self, chunk: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class Sink(io.RawIOBase):
    """Stores written bytes until `taken` is called."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class ParquetEncoder:
    """Encodes plain CSV lines. Each amount has a column of integer fen and one of decimal yuan."""

    def __init__(self, columns: tuple[ExportColumn, ...]) -> None:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.parquet

        self._arrow = pyarrow
        self._columns = columns
        self._pending = bytearray()
        self._sink = Sink()
        word = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        types = {
            "bigint": pyarrow.int64(),
            "smallint": pyarrow.int16(),
            "date": pyarrow.date32(),
            "uuid": pyarrow.string(),
            "word": word,
            "text": word,
        }
        self._types = {column.name: types[column.kind] for column in columns}
        self._money = [column.name for column in columns if column.name.endswith("_fen")]
        self._yuan = pyarrow.decimal128(18, 2)
        fields = [*self._types.items(), *((_yuan(name), self._yuan) for name in self._money)]
        self._schema = pyarrow.schema(fields)
        self._writer = pyarrow.parquet.ParquetWriter(
            self._sink, self._schema, compression="zstd", store_schema=True
        )

    def feed(self, chunk: bytes) -> bytes:
        self._pending += chunk
        # Row groups depend on the rows, not on the pieces: the same rows give the same bytes.
        while len(self._pending) >= BLOCK_BYTES:
            end = self._pending.rindex(b"\n", 0, BLOCK_BYTES) + 1
            self._write(bytes(self._pending[:end]))
            del self._pending[:end]
        return self._sink.taken()

    def finish(self) -> bytes:
        if self._pending:
            self._write(bytes(self._pending))
        self._writer.close()
        return self._sink.taken()

    def _write(self, lines: bytes) -> None:
        csv = self._arrow.csv
        table = csv.read_csv(
            io.BytesIO(lines),
            read_options=csv.ReadOptions(
                column_names=list(self._types), block_size=len(lines) + 1, use_threads=False
            ),
            convert_options=csv.ConvertOptions(
                column_types=self._types, strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
        compute = self._arrow.compute
        for name in self._money:
            fen = table[name].cast(self._arrow.decimal128(19, 0))
            yuan = compute.multiply(fen, self._arrow.scalar(Decimal("0.01")))
            table = table.append_column(_yuan(name), yuan.cast(self._yuan))
        self._writer.write_table(table.cast(self._schema), row_group_size=table.num_rows)


def _yuan(name: str) -> str:
    return name.removesuffix("_fen") + "_yuan"


class Archive(zipfile.ZipFile):
    """A zip file without `__del__`. When an export is dropped, that of ZipFile would write the end
    of the file, and print an error if it cannot."""

    def __del__(self) -> None:
        pass


class SheetEncoder:
    """Inserts rows of sheet XML (`sheet_row_sql`) into a workbook that XlsxWriter has made with the
    heading and the styles."""

    def __init__(self, columns: tuple[ExportColumn, ...], chinese_names: bool) -> None:
        book = zipfile.ZipFile(io.BytesIO(_workbook(columns, chinese_names)))
        self._sink = Sink()
        self._zip = Archive(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=4)
        sheet = "xl/worksheets/sheet1.xml"
        for name in book.namelist():
            if name != sheet:
                self._zip.writestr(_member(name), book.read(name))
        xml = re.sub(rb"<dimension [^>]*/>", b"", book.read(sheet))
        self._head, self._tail = re.split(rb'<row r="2".*?</row>', xml)
        self._member = self._zip.open(_member(sheet), "w", force_zip64=True)
        self._member.write(self._head)

    def feed(self, chunk: bytes) -> bytes:
        self._member.write(chunk)
        return self._sink.taken()

    def finish(self) -> bytes:
        self._member.write(self._tail)
        self._member.close()
        self._zip.close()
        return self._sink.taken()


# Index of the style for days. 0 is the plain style, 1 the style of the heading.
DAY_STYLE = 2


# For translate(): line breaks become blanks, because each row is a line. Characters that XML does
# not allow are removed, because a workbook with one cannot be opened.
_NO_XML = "".join(f"\\x{n:02x}" for n in range(1, 32) if chr(n) not in "\t\n\r")
NO_CELL = f"E'\\n\\r{_NO_XML}\\ufffe\\uffff'"


def sheet_row_sql(columns: tuple[ExportColumn, ...]) -> str:
    """SQL over `entry` that writes a row of sheet XML. An inline string is never a formula."""
    return "'<row>' || " + " || ".join(_cell_sql(column) for column in columns) + " || '</row>'"


def _cell_sql(column: ExportColumn) -> str:
    value = f"entry.{column.name}"
    if column.kind == "date":
        cell = f"'<c s=\"{DAY_STYLE}\"><v>' || ({value} - DATE '1899-12-30') || '</v></c>'"
    elif column.kind in ("bigint", "smallint"):
        cell = f"'<c><v>' || {value} || '</v></c>'"
    else:
        safe = f"{value}::text"
        if column.outside:
            safe = f"translate({safe}, {NO_CELL}, '  ')"
        for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            safe = f"replace({safe}, '{sign}', '{name}')"
        cell = f"'<c t=\"inlineStr\"><is><t>' || {safe} || '</t></is></c>'"
    return f"coalesce({cell}, '<c/>')"


def _workbook(columns: tuple[ExportColumn, ...], chinese_names: bool) -> bytes:
    import xlsxwriter

    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True})
    # Must be a datetime: XlsxWriter ignores a date and writes the current time.
    book.set_properties({"created": datetime(*_EPOCH)})
    sheet = book.add_worksheet("journal")
    heading = book.add_format({"bold": True})
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    for at, column in enumerate(columns):
        sheet.write_string(0, at, column.zh if chinese_names else column.name, heading)
        sheet.set_column(at, at, 38 if column.kind == "uuid" else 16)
    sheet.write_datetime(
        1, 0, date(2025, 1, 1), day
    )  # placeholder of the rows; defines the style of days
    sheet.freeze_panes(1, 0)
    book.close()
    return file.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    return member
