"""The list of a reconciliation as a file, page by page, with a connection for each page only."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import asyncpg

from service.db.reports import Reports
from service.finance.journal.columns import Column
from service.finance.journal.export import BOM
from service.finance.reconcile.pairing import FINDINGS
from service.finance.reconcile.run import Item

ListFormat = Literal["csv", "ndjson"]
Listed = Literal[
    "bad_row", "matched", "missing_here", "missing_there", "amount_differs", "state_differs",
    "duplicate",
]  # fmt: skip

PAGE = 20_000
# What Column.csv_sql looks for, too.
FORMULA = re.compile("[=+\\-@\t\r＝＋－＠]")

COLUMNS = (
    Column("item_no", "序号", "bigint", "from 1"),
    Column("finding", "结果", "word", ", ".join(("bad_row", *FINDINGS))),
    Column("file_line", "文件行号", "bigint", "line of the file, with the heading"),
    Column("key", "匹配键", "text", "what it was matched by", outside=True),
    Column("claim_id", "补贴单号", "uuid", "the claim in the books"),
    Column("line_no", "行号", "smallint", "line of the claim, if lines were matched"),
    Column("booked_on", "记账日", "date", "when the books have it"),
    Column("here_fen", "账上金额（分）", "bigint", "what the books have"),
    Column("there_fen", "文件金额（分）", "bigint", "what the file says"),
    Column("here_state", "账上状态", "word", "state in the books"),
    Column("there_state", "文件状态", "word", "state in the file, as mapped"),
    Column("why", "原因", "word", "of a bad row"),
)
LAST = """
    SELECT coalesce(max(item_no), 0) FROM reconciliation_item
    WHERE jurisdiction = $1 AND reconciliation_id = $2
"""


def harmless_row(number: int, item: Item) -> tuple[object, ...]:
    """A line of the list as CSV has it, made here: nothing of it is computed by a spreadsheet."""
    cells = (number, *item)
    return tuple(
        f"'{cell}" if column.outside and FORMULA.match(str(cell)) else cell
        for column, cell in zip(COLUMNS, cells, strict=True)
    )


@dataclass(frozen=True, slots=True)
class ListOf:
    """What to list, and how it is to look."""

    jurisdiction: str
    reconciliation_id: UUID
    format: ListFormat = "csv"
    finding: Listed | None = None
    chinese_names: bool = False
    bom: bool = False

    def query(self) -> str:
        """A page of it, as COPY takes it."""
        names = ", ".join(one.csv_sql() for one in COLUMNS)
        if self.format == "ndjson":
            names = ", ".join(one.name for one in COLUMNS)
        rows = (
            f"SELECT {names} FROM reconciliation_item"  # noqa: S608
            " WHERE jurisdiction = $1 AND reconciliation_id = $2 AND item_no > $3"
            f" AND item_no <= $3 + {PAGE} AND ($4::text IS NULL OR finding = $4) ORDER BY item_no"
        )
        if self.format == "ndjson":
            return f"SELECT row_to_json(item) FROM ({rows}) AS item"  # noqa: S608
        return rows

    def heading(self) -> bytes:
        if self.format == "ndjson":
            return b""
        names = ",".join(one.zh if self.chinese_names else one.name for one in COLUMNS)
        return (BOM if self.bom else b"") + f"{names}\r\n".encode()


async def list_pieces(reports: Reports, wanted: ListOf) -> AsyncIterator[bytes]:
    """The file. It cannot change meanwhile: a list is kept whole, once."""
    yield wanted.heading()
    head = wanted.jurisdiction, wanted.reconciliation_id
    async with reports.connection() as connection:
        last = await connection.fetchval(LAST, *head)
    for after in range(0, last, PAGE):
        yield await _page(reports.connection(), wanted, after)


async def _page(
    place: AbstractAsyncContextManager[asyncpg.Connection], wanted: ListOf, after: int
) -> bytes:
    page = bytearray()

    async def take(chunk: bytes) -> None:
        page.extend(chunk)

    # A JSON text has no control characters: with these as quote and delimiter it stays as it is.
    plain = {"delimiter": "\x02", "quote": "\x01"} if wanted.format == "ndjson" else {}
    async with place as connection:
        await connection.copy_from_query(
            wanted.query(),
            wanted.jurisdiction,
            wanted.reconciliation_id,
            after,
            wanted.finding,
            output=take,
            format="csv",
            **plain,
        )
    return bytes(page) if wanted.format == "ndjson" else bytes(page).replace(b"\n", b"\r\n")
