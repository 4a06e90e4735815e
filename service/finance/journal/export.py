"""The journal as a stream of bytes, by PostgreSQL's COPY from one snapshot.

PostgreSQL writes CSV, JSON and the rows of a workbook. Parquet is made from blocks of CSV. No row
becomes a Python object, and memory does not grow with the rows.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import asyncpg

from service.finance.journal.columns import ExportColumn, columns_of
from service.finance.journal.sales import with_sales
from service.finance.journal.selection import Selection
from service.finance.journal.sums import summed_up

Format = Literal["csv", "ndjson", "parquet", "xlsx"]
Take = Callable[[bytes], Awaitable[None]]

BOM = "\ufeff".encode()
# The rows of a sheet, without the heading.
XLSX_ROWS_MAX = 1_048_575


@dataclass(frozen=True, slots=True)
class Layout:
    """The format of the file. `trailer` adds a last line with the number of rows, the sum and the
    SHA-256 of everything before it."""

    format: Format
    funding: bool = False
    chinese_names: bool = False
    bom: bool = False
    trailer: bool = False
    sales: bool = False

    @property
    def columns(self) -> tuple[ExportColumn, ...]:
        return columns_of(funding=self.funding, sales=self.sales)


class Size(NamedTuple):
    rows: int
    sum_fen: int


async def size_of(connection: asyncpg.Connection, selection: Selection) -> Size:
    """The size of the export, in the caller's snapshot. Known before the first byte is sent.

    Only the entries that the running sums lack are counted: to count a million takes an eighth of
    the time to send them.
    """
    until, (summed_rows, summed_fen) = await summed_up(connection, selection)
    where, arguments = replace(selection, after=max(selection.after, until)).where()
    await connection.execute("SET LOCAL jit = off")
    rest = await connection.fetchrow(
        "SELECT count(*), coalesce(sum(amount_fen), 0)::bigint"  # noqa: S608
        f" FROM journal WHERE {where}",
        *arguments,
    )
    return Size(summed_rows + rest[0], summed_fen + rest[1])


async def copy_csv(
    connection: asyncpg.Connection,
    selection: Selection,
    columns: tuple[ExportColumn, ...],
    take: Take,
    *,
    chinese_names: bool = False,
) -> int:
    """CSV by RFC 4180, safe from formulas: the heading, then a line per entry. Returns the number
    of entries."""
    names = ",".join(column.zh if chinese_names else column.name for column in columns)
    await take(f"{names}\r\n".encode())

    async def take_lines(chunk: bytes) -> None:
        # No column contains a line break, so each one ends a record.
        await take(chunk.replace(b"\n", b"\r\n"))

    expressions = ", ".join(column.csv_sql() for column in columns)
    return await copy_rows(connection, selection, expressions, take_lines)


async def copy_ndjson(
    connection: asyncpg.Connection,
    selection: Selection,
    columns: tuple[ExportColumn, ...],
    take: Take,
) -> int:
    """One JSON object per line. Returns the number of entries."""
    names = ", ".join(column.name for column in columns)
    return await copy_texts(connection, selection, names, "row_to_json(entry)", take)


async def copy_texts(
    connection: asyncpg.Connection, selection: Selection, names: str, text: str, take: Take
) -> int:
    """One text per line, unquoted. Returns the number of entries. JSON and XML contain no control
    characters: with two of these as delimiter and quote, COPY has nothing to quote."""
    query, arguments = _query(selection, names)
    query = f"SELECT {text} FROM ({query}) AS entry"  # noqa: S608
    return await _copy(connection, query, arguments, take, delimiter="\x02", quote="\x01")


async def copy_rows(
    connection: asyncpg.Connection, selection: Selection, expressions: str, take: Take
) -> int:
    """The selected entries as plain CSV lines, in the order of their numbers, in the caller's
    snapshot. Returns the number of entries."""
    return await _copy(connection, *_query(selection, expressions), take)


def _query(selection: Selection, expressions: str) -> tuple[str, list[object]]:
    where, arguments = selection.where()
    table = "journal_funded" if "centre_fen" in expressions else "journal"
    if "sales_fen" in expressions:
        table = with_sales(table)
    query = f"SELECT {expressions} FROM {table} WHERE {where} ORDER BY entry_no"  # noqa: S608
    return query, arguments


async def _copy(
    connection: asyncpg.Connection, query: str, arguments: list[object], take: Take, **options: str
) -> int:
    # Read along the primary key: a sort of a million rows spills to disk and delays the first byte.
    await connection.execute("SET LOCAL enable_sort = off")
    await connection.execute("SET LOCAL jit = off")
    done = await connection.copy_from_query(query, *arguments, output=take, format="csv", **options)
    return int(done.removeprefix("COPY "))
