"""The columns of an export, documented here once: the README and OpenAPI say what stands here."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["bigint", "smallint", "date", "uuid", "word", "text"]


@dataclass(frozen=True, slots=True)
class Column:
    """`sql` is its expression over the journal; a `word` has few different values."""

    name: str
    zh: str
    kind: Kind
    about: str
    outside: bool = False  # written by others: a spreadsheet might take it for a formula

    def csv_sql(self) -> str:
        """As CSV shows it: what a spreadsheet would compute gets an apostrophe in front."""
        if not self.outside:
            return self.name
        # = + - @ and tab, carriage return, also in their full-width forms.
        first = "(61, 43, 45, 64, 9, 13, 65309, 65291, 65293, 65312)"
        return (
            f"CASE WHEN ascii({self.name}) IN {first} THEN '''' || {self.name} "
            f"ELSE {self.name} END AS {self.name}"
        )


COLUMNS = (
    Column("entry_no", "分录号", "bigint", "ascending; numbers may be missing, entries never are"),
    Column("booked_on", "记账日", "date", "business day in Asia/Shanghai"),
    Column("kind", "类型", "word", "grant, refund (negative) or allocation"),
    Column("retailer_id", "企业编号", "text", "empty for an allocation", outside=True),
    Column("store_id", "门店编号", "text", "empty for an allocation", outside=True),
    Column("claim_id", "补贴单号", "uuid", "empty for an allocation"),
    Column("line_no", "行号", "smallint", "line of the claim"),
    Column("pool", "资金池", "word", "the budget it was taken from"),
    Column("category", "品类", "word", "empty for an allocation"),
    Column("policy", "政策版本", "word", "the policy that priced it"),
    Column("amount_fen", "金额（分）", "bigint", "money that left the pool, in fen"),
    Column("document_no", "文号", "text", "the paper behind an allocation", outside=True),
)
# With `funding=true`: who bears the amount; together they are `amount_fen`.
FUNDING_COLUMNS = (
    Column("centre_fen", "中央承担（分）", "bigint", "borne by the centre"),
    Column("province_fen", "省级承担（分）", "bigint", "borne by the province"),
    Column("city_fen", "市级承担（分）", "bigint", "borne by the city"),
    Column("district_fen", "区级承担（分）", "bigint", "borne by the district"),
)


def columns_of(funding: bool) -> tuple[Column, ...]:
    return COLUMNS + FUNDING_COLUMNS if funding else COLUMNS


def described() -> str:
    """The columns as Markdown, for people."""
    lines = [f"| `{one.name}` | {one.zh} | {one.about} |" for one in (*COLUMNS, *FUNDING_COLUMNS)]
    return "\n".join(("| column | 列名 | |", "|---|---|---|", *lines))
