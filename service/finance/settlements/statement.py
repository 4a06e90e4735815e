"""The statement of a settlement, which a retailer files: JSON, CSV, a workbook or a PDF.

The libraries for workbooks and PDF are large. They are imported for the first such file.
"""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from service.core.calendar import SHANGHAI
from service.core.money import yuan
from service.finance.settlements.settlement import Settlement

StatementFile = Literal["csv", "xlsx", "pdf"]
StatementFormat = Literal["json", "csv", "xlsx", "pdf"]
EntryRole = Literal["grant", "refund", "claw_back"]

# A longer PDF names the CSV file instead of its lines: so many pages are not read.
PDF_LINES_MAX = 2_000
ROLE_NAMES = {"grant": "补贴", "refund": "退货冲减", "claw_back": "追回"}
STATES = {"drafted": "草稿", "approved": "已审核", "paid": "已拨付", "voided": "已作废"}
HEADING = (
    "分录号", "记账日", "类型", "门店编号", "品类", "补贴单号", "行号", "发票号码", "金额（元）"
)  # fmt: skip
FONT = "STSong-Light"  # PDF readers bring it for Chinese, so no font file is needed

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")

# Drafts of release 0.1.0 keep no invoice and no name: what is on record speaks for them.
HEAD = """
    SELECT coalesce(s.retailer_name, r.name) AS name, coalesce(s.retailer_uscc, r.uscc) AS uscc
    FROM settlement_recorded AS s JOIN retailer AS r USING (jurisdiction, retailer_id)
    WHERE s.jurisdiction = $1 AND s.settlement_id = $2
"""
LINES = """
    SELECT j.entry_no, j.booked_on, s.part, j.store_id, j.category, s.claim_id, s.line_no,
        coalesce(s.invoice_no, i.number) AS invoice_no, s.amount_fen
    FROM statement_entry AS s
    JOIN journal AS j ON j.jurisdiction = s.jurisdiction AND j.entry_no = s.entry_no
    LEFT JOIN invoice AS i ON i.claim_id = s.claim_id
    WHERE s.jurisdiction = $1 AND s.settlement_id = $2 ORDER BY j.entry_no
"""


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One journal entry of the settlement. `part` is its role in the settlement."""

    entry_no: int
    booked_on: date
    part: EntryRole
    store_id: str
    category: str
    claim_id: UUID
    line_no: int
    invoice_no: str | None
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A settlement with the retailer and every entry."""

    settlement: Settlement
    retailer_name: str
    retailer_uscc: str
    lines: list[StatementLine]


async def read_statement(
    connection: asyncpg.Connection, jurisdiction: str, settlement: Settlement
) -> Statement:
    retailer = await connection.fetchrow(HEAD, jurisdiction, settlement.settlement_id)
    rows = await connection.fetch(LINES, jurisdiction, settlement.settlement_id)
    lines = [StatementLine(*row) for row in rows]
    return Statement(settlement, retailer["name"], retailer["uscc"], lines)


def _head(statement: Statement) -> list[tuple[str, str]]:
    settlement = statement.settlement
    voided = [
        ("作废", _signed(settlement.voided_by, settlement.voided_at)),
        ("作废原因", settlement.void_reason or ""),
    ]
    return [
        ("结算单号", str(settlement.settlement_id)),
        ("企业", f"{statement.retailer_name}（{statement.retailer_uscc}）"),
        ("类型", "预拨" if settlement.kind == "advance" else "结算"),
        ("期间", f"{settlement.from_on} 至 {settlement.to_on}"),
        ("状态", STATES[settlement.state]),
        ("分录数", str(settlement.entries)),
        ("补贴（元）", yuan(settlement.granted_fen)),
        ("退货冲减（元）", yuan(settlement.refunded_fen)),
        ("追回（元）", yuan(settlement.clawed_back_fen)),
        ("扣除预拨（元）", yuan(-settlement.advanced_fen)),
        ("应付净额（元）", yuan(settlement.net_fen)),
        ("编制", _signed(settlement.drafted_by, settlement.drafted_at)),
        ("审核", _signed(settlement.approved_by, settlement.approved_at)),
        ("拨付", _signed(settlement.paid_by, settlement.paid_at)),
        ("付款凭证号", settlement.payment_reference or ""),
        *(voided if settlement.state == "voided" else ()),
    ]


def _signed(key_id: str | None, at: datetime | None) -> str:
    if key_id is None or at is None:
        return ""
    return f"{key_id}，{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def _rows(lines: Iterable[StatementLine]) -> Iterable[tuple[Any, ...]]:
    for line in lines:
        yield (
            line.entry_no,
            line.booked_on.isoformat(),
            ROLE_NAMES[line.part],
            line.store_id,
            line.category,
            str(line.claim_id),
            line.line_no,
            line.invoice_no or "",
            yuan(line.amount_fen).replace(",", ""),
        )


def _formula_safe(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row with an apostrophe before each text that a spreadsheet would run as a formula."""
    *cells, amount = row
    guarded = (
        f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_SIGNS) else cell
        for cell in cells
    )
    return (*guarded, amount)


def csv_file(statement: Statement) -> bytes:
    """CSV in UTF-8, with a byte order mark for Excel."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADING)
    writer.writerows(map(_formula_safe, _rows(statement.lines)))
    return ("\ufeff" + text.getvalue()).encode()


def xlsx_file(statement: Statement) -> bytes:
    import xlsxwriter

    file = io.BytesIO()
    plain = {"strings_to_formulas": False, "strings_to_urls": False}  # texts come from retailers
    book = xlsxwriter.Workbook(file, {"constant_memory": True, **plain})
    book.set_properties({"created": statement.settlement.drafted_at.astimezone(UTC)})
    head, lines = book.add_worksheet("结算单"), book.add_worksheet("明细")
    money = book.add_format({"num_format": "#,##0.00"})
    head.set_column(0, 1, 40)
    for at, pair in enumerate(_head(statement)):
        head.write_row(at, 0, pair)
    lines.write_row(0, 0, HEADING)
    for at, row in enumerate(_rows(statement.lines), start=1):
        for column, value in enumerate(row[:-1]):
            (lines.write_number if isinstance(value, int) else lines.write_string)(
                at, column, value
            )
        lines.write_number(at, len(row) - 1, float(row[-1]), money)  # float: only the csv is exact
    book.close()
    return file.getvalue()


def _in_font(text: str) -> str:
    """The text with 〓 for each character above U+FFFF: the font cannot encode those."""
    return "".join(char if char <= "\uffff" else "〓" for char in text)


def pdf_file(statement: Statement) -> bytes:
    from reportlab.lib.pagesizes import A4, landscape
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.platypus import SimpleDocTemplate, Spacer, Table

    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    style = [("FONT", (0, 0), (-1, -1), FONT, 8), ("GRID", (0, 0), (-1, -1), 0.3, "#888888")]
    title = [("FONT", (0, 0), (-1, -1), FONT, 14)]
    story = [
        Table([["消费品以旧换新补贴资金结算单"]], style=title),
        Table(
            [[name, _in_font(value)] for name, value in _head(statement)],
            colWidths=[110, 330],
            style=style,
        ),
        Spacer(0, 12),
    ]
    if len(statement.lines) <= PDF_LINES_MAX:
        rows = [HEADING, *_rows(statement.lines)]
        widths = [44, 58, 52, 60, 92, 196, 32, 118, 80]
        aligned = ("ALIGN", (-1, 0), (-1, -1), "RIGHT")
        story.append(Table(rows, widths, repeatRows=1, style=[*style, aligned]))
    else:
        note = f"明细共 {len(statement.lines)} 行，见本结算单的 csv 文件。"
        story.append(Table([[note]], style=style))
    story.append(Spacer(0, 24))
    signatures = [["企业（盖章）：", "区经信商务局：", "区财政局："]]
    story.append(
        Table(signatures, colWidths=[220] * 3, style=[("FONT", (0, 0), (-1, -1), FONT, 9)])
    )

    def number(canvas: Any, document: Any) -> None:
        canvas.setFont(FONT, 8)
        foot = f"结算单号 {statement.settlement.settlement_id}　第 {document.page} 页"
        canvas.drawCentredString(landscape(A4)[0] / 2, 36, foot)

    file = io.BytesIO()
    paper = SimpleDocTemplate(file, pagesize=landscape(A4), title="结算单", invariant=True)
    paper.build(story, onFirstPage=number, onLaterPages=number)
    return file.getvalue()


STATEMENT_FILES: dict[StatementFile, tuple[Callable[[Statement], bytes], str]] = {
    "csv": (csv_file, "text/csv; charset=utf-8"),
    "xlsx": (xlsx_file, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "pdf": (pdf_file, "application/pdf"),
}
