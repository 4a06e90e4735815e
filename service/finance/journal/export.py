"""The journal as a stream of bytes, made by PostgreSQL's COPY from one snapshot.

Rows never become Python objects: CSV and JSON are written by the server, the spreadsheet's rows
too, and Parquet is made from blocks of CSV. So memory does not grow with the rows.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import asyncpg

from service.finance.journal.columns import Column, columns_of
from service.finance.journal.selection import Selection
from service.finance.journal.sums import summed_up

Format = Literal["csv", "ndjson", "parquet", "xlsx"]
Take = Callable[[bytes], Awaitable[None]]

BOM = "\ufeff".encode()
# One row less than a sheet has: the first is the heading.
XLSX_ROWS_MAX = 1_048_575


@dataclass(frozen=True, slots=True)
class Layout:
    """How the file is to look. `trailer` adds a last line with rows, sum and SHA-256 of all
    before it."""

    format: Format
    funding: bool = False
    chinese_names: bool = False
    bom: bool = False
    trailer: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.funding)


class Size(NamedTuple):
    rows: int
    sum_fen: int


async def size_of(connection: asyncpg.Connection, selection: Selection) -> Size:
    """What the export will come to, told before its first byte, in the caller's snapshot.

    What the dashboards' sums have need not be counted: to count a million entries takes an
    eighth of the time that it takes to send them.
    """
    until, summed = await summed_up(connection, selection)
    where, arguments = replace(selection, after=max(selection.after, until)).where()
    await connection.execute("SET LOCAL jit = off")
    rest = await connection.fetchrow(
        "SELECT count(*), coalesce(sum(amount_fen), 0)::bigint"  # noqa: S608
        f" FROM journal WHERE {where}",
        *arguments,
    )
    return Size(summed[0] + rest[0], summed[1] + rest[1])


async def copy_csv(
    connection: asyncpg.Connection,
    selection: Selection,
    columns: tuple[Column, ...],
    take: Take,
    *,
    chinese_names: bool = False,
) -> int:
    """RFC 4180, formula-safe: the heading, then a line for each entry; returns how many."""
    names = ",".join(one.zh if chinese_names else one.name for one in columns)
    await take(f"{names}\r\n".encode())

    async def take_lines(chunk: bytes) -> None:
        # No text of ours holds a line break: each one ends a record.
        await take(chunk.replace(b"\n", b"\r\n"))

    expressions = ", ".join(one.csv_sql() for one in columns)
    return await copy_rows(connection, selection, expressions, take_lines)


async def copy_ndjson(
    connection: asyncpg.Connection, selection: Selection, columns: tuple[Column, ...], take: Take
) -> int:
    """One JSON object a line; returns how many."""
    names = ", ".join(one.name for one in columns)
    return await copy_texts(connection, selection, names, "row_to_json(entry)", take)


async def copy_texts(
    connection: asyncpg.Connection, selection: Selection, names: str, text: str, take: Take
) -> int:
    """One text a line, as it is: JSON and XML have no control characters, so with these as
    quote and delimiter CSV leaves them alone. Returns how many."""
    query, arguments = _query(selection, names)
    query = f"SELECT {text} FROM ({query}) AS entry"  # noqa: S608
    return await _copy(connection, query, arguments, take, delimiter="\x02", quote="\x01")


async def copy_rows(
    connection: asyncpg.Connection, selection: Selection, expressions: str, take: Take
) -> int:
    """COPY the selected entries as plain CSV lines, by entry number, in the caller's snapshot;
    returns how many."""
    return await _copy(connection, *_query(selection, expressions), take)


def _query(selection: Selection, expressions: str) -> tuple[str, list[object]]:
    where, arguments = selection.where()
    table = "journal_funded" if "centre_fen" in expressions else "journal"
    query = f"SELECT {expressions} FROM {table} WHERE {where} ORDER BY entry_no"  # noqa: S608
    return query, arguments


async def _copy(
    connection: asyncpg.Connection, query: str, arguments: list[object], take: Take, **options: str
) -> int:
    # Along the key: to sort a million rows would spill to disk and hold back the first byte.
    await connection.execute("SET LOCAL enable_sort = off")
    await connection.execute("SET LOCAL jit = off")
    done = await connection.copy_from_query(query, *arguments, output=take, format="csv", **options)
    return int(done.removeprefix("COPY "))
