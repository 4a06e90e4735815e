"""The columns of a journal export. The README and OpenAPI take their text here."""

from dataclasses import dataclass
from typing import Literal

ColumnKind = Literal["bigint", "smallint", "date", "uuid", "word", "text"]


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column of an export. A `word` has few distinct values."""

    name: str
    zh: str
    kind: ColumnKind
    about: str
    outside: bool = False  # written by callers: a spreadsheet could run it as a formula

    def csv_sql(self) -> str:
        """The column for CSV, with an apostrophe before a text that a spreadsheet would run."""
        if not self.outside:
            return self.name
        # The code points of = + - @, tab, carriage return and the full-width = + - @.
        first = "(61, 43, 45, 64, 9, 13, 65309, 65291, 65293, 65312)"
        return (
            f"CASE WHEN ascii({self.name}) IN {first} THEN '''' || {self.name} "
            f"ELSE {self.name} END AS {self.name}"
        )


EXPORT_COLUMNS = (
    ExportColumn(
        "entry_no", "分录号", "bigint", "ascending; numbers may be missing, entries never are"
    ),
    ExportColumn("booked_on", "记账日", "date", "business day in Asia/Shanghai"),
    ExportColumn("kind", "类型", "word", "grant, refund (negative) or allocation"),
    ExportColumn("retailer_id", "企业编号", "text", "empty for an allocation", outside=True),
    ExportColumn("store_id", "门店编号", "text", "empty for an allocation", outside=True),
    ExportColumn("claim_id", "补贴单号", "uuid", "empty for an allocation"),
    ExportColumn("line_no", "行号", "smallint", "line of the claim"),
    ExportColumn("pool", "资金池", "word", "the budget it was taken from"),
    ExportColumn("category", "品类", "word", "empty for an allocation"),
    ExportColumn("policy", "政策版本", "word", "the policy that priced it"),
    ExportColumn("amount_fen", "金额（分）", "bigint", "money that left the pool, in fen"),
    ExportColumn("document_no", "文号", "text", "the paper behind an allocation", outside=True),
)
# With `funding=true`: the shares of the amount by level. Their sum is `amount_fen`.
FUNDING_COLUMNS = (
    ExportColumn("centre_fen", "中央承担（分）", "bigint", "borne by the centre"),
    ExportColumn("province_fen", "省级承担（分）", "bigint", "borne by the province"),
    ExportColumn("city_fen", "市级承担（分）", "bigint", "borne by the city"),
    ExportColumn("district_fen", "区级承担（分）", "bigint", "borne by the district"),
)


# With `sales=true`: the sales that the subsidy drove.
SALES_COLUMNS = (
    ExportColumn(
        "sales_fen",
        "带动销售额（分）",
        "bigint",
        "what the line was sold for, negative for a refund; empty for an allocation",
    ),
)


def columns_of(*, funding: bool = False, sales: bool = False) -> tuple[ExportColumn, ...]:
    return (
        *EXPORT_COLUMNS,
        *(FUNDING_COLUMNS if funding else ()),
        *(SALES_COLUMNS if sales else ()),
    )


def described() -> str:
    """The columns as a table in Markdown."""
    lines = [
        f"| `{column.name}` | {column.zh} | {column.about} |"
        for column in columns_of(funding=True, sales=True)
    ]
    return "\n".join(("| column | 列名 | |", "|---|---|---|", *lines))
