"""The list of a reconciliation as a file. A connection is held only while a page is read."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import asyncpg

from service.db.reports import Reports
from service.finance.journal.columns import ExportColumn
from service.finance.journal.export import BOM
from service.finance.reconcile.pairing import PAIR_FINDINGS
from service.finance.reconcile.run import ReconcileItem
from service.finance.reconcile.signs import RowsAre, movement_of

ListFormat = Literal["csv", "ndjson"]
ItemFinding = Literal[
    "bad_row", "matched", "missing_here", "missing_there", "amount_differs", "state_differs",
    "duplicate", "rounding", "refunded", "unsubsidised",
]  # fmt: skip

PAGE = 20_000
# The same signs as in ExportColumn.csv_sql.
FORMULA = re.compile("[=+\\-@\t\r＝＋－＠]")

ITEM_COLUMNS = (
    ExportColumn("item_no", "序号", "bigint", "from 1"),
    ExportColumn("finding", "结果", "word", ", ".join(("bad_row", *PAIR_FINDINGS))),
    ExportColumn("file_line", "文件行号", "bigint", "line of the file, with the heading"),
    ExportColumn("key", "匹配键", "text", "what it was matched by", outside=True),
    ExportColumn("claim_id", "补贴单号", "uuid", "the claim in the books"),
    ExportColumn("line_no", "行号", "smallint", "line of the claim, if lines were matched"),
    ExportColumn("booked_on", "记账日", "date", "when the books have it"),
    ExportColumn("here_fen", "账上金额（分）", "bigint", "what the books have"),
    ExportColumn("there_fen", "文件金额（分）", "bigint", "what the file says"),
    ExportColumn("here_state", "账上状态", "word", "state in the books"),
    ExportColumn("there_state", "文件状态", "word", "state in the file, as mapped"),
    ExportColumn("why", "原因", "word", "of a bad row"),
)
# With rows=movements. It follows from the amounts, so no table has it.
MOVEMENT = ExportColumn("movement", "款项", "word", "payment or refund; empty for a bad row")
_MOVEMENT_SQL = """
    CASE WHEN coalesce(here_fen, there_fen) < 0 THEN 'refund'
        WHEN coalesce(here_fen, there_fen) > 0 THEN 'payment' END AS movement
"""
_LAST_SQL = """
    SELECT coalesce(max(item_no), 0) FROM reconciliation_item
    WHERE jurisdiction = $1 AND reconciliation_id = $2
"""


def item_columns(rows: RowsAre) -> tuple[ExportColumn, ...]:
    return (*ITEM_COLUMNS, MOVEMENT) if rows == "movements" else ITEM_COLUMNS


def harmless_row(number: int, item: ReconcileItem, rows: RowsAre = "sales") -> tuple[object, ...]:
    """An item as a line of CSV, with an apostrophe before a text that a spreadsheet would run."""
    cells: tuple[object, ...] = (number, *item)
    if rows == "movements":
        fen = item.there_fen if item.here_fen is None else item.here_fen
        cells = (*cells, None if fen is None else movement_of(fen))
    return tuple(
        f"'{cell}" if column.outside and FORMULA.match(str(cell)) else cell
        for column, cell in zip(item_columns(rows), cells, strict=True)
    )


@dataclass(frozen=True, slots=True)
class ItemList:
    """The items to list, and their format."""

    jurisdiction: str
    reconciliation_id: UUID
    format: ListFormat = "csv"
    finding: ItemFinding | None = None
    chinese_names: bool = False
    bom: bool = False
    rows: RowsAre = "sales"

    def query(self) -> str:
        """The query of one page, for COPY."""
        columns = [
            column.name if self.format == "ndjson" else column.csv_sql() for column in ITEM_COLUMNS
        ]
        if self.rows == "movements":
            columns.append(_MOVEMENT_SQL)
        rows = (
            f"SELECT {', '.join(columns)} FROM reconciliation_item"  # noqa: S608
            " WHERE jurisdiction = $1 AND reconciliation_id = $2 AND item_no > $3"
            f" AND item_no <= $3 + {PAGE} AND ($4::text IS NULL OR finding = $4) ORDER BY item_no"
        )
        if self.format == "ndjson":
            return f"SELECT row_to_json(item) FROM ({rows}) AS item"  # noqa: S608
        return rows

    def heading(self) -> bytes:
        if self.format == "ndjson":
            return b""
        names = ",".join(
            column.zh if self.chinese_names else column.name for column in item_columns(self.rows)
        )
        return (BOM if self.bom else b"") + f"{names}\r\n".encode()


async def list_pieces(reports: Reports, item_list: ItemList) -> AsyncIterator[bytes]:
    """The file. It cannot change while it is read: a list is stored once, in one transaction."""
    yield item_list.heading()
    head = item_list.jurisdiction, item_list.reconciliation_id
    async with reports.connection() as connection:
        last = await connection.fetchval(_LAST_SQL, *head)
    for after in range(0, last, PAGE):
        yield await _page(reports.connection(), item_list, after)


async def _page(
    connecting: AbstractAsyncContextManager[asyncpg.Connection], item_list: ItemList, after: int
) -> bytes:
    page = bytearray()

    async def take(chunk: bytes) -> None:
        page.extend(chunk)

    # JSON contains no control characters. With these as delimiter and quote, COPY quotes nothing.
    plain = {"delimiter": "\x02", "quote": "\x01"} if item_list.format == "ndjson" else {}
    async with connecting as connection:
        await connection.copy_from_query(
            item_list.query(),
            item_list.jurisdiction,
            item_list.reconciliation_id,
            after,
            item_list.finding,
            output=take,
            format="csv",
            **plain,
        )
    return bytes(page) if item_list.format == "ndjson" else bytes(page).replace(b"\n", b"\r\n")
