"""WeChat's trade bill (交易账单): ALL, SUCCESS or REFUND, of any age.

A heading without guards, rows whose every value begins with a backtick, a heading of totals, and
one row of them. A goods name may have commas and line ends, and nothing quotes it. So a row is
parted where a comma is followed by a backtick, and it ends where the next line begins with one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from service.finance.files.cells import text_of
from service.finance.files.faults import BadFile
from service.finance.files.lines import TextLines
from service.finance.files.profiles.profile import (
    ADDED,
    Profile,
    ProfileTable,
    ProfileUse,
    RowKind,
    RunningTotal,
    SectionTotals,
    tie,
    yuan_fen,
)

ORDER_NO, STATE = "商户订单号", "交易状态"
KINDS: dict[str, RowKind] = {"SUCCESS": "payment", "REFUND": "refund", "REVOKED": "refund"}
# The bill of before 2017 had other names.
OLD_NAMES = {
    "总金额": "应结订单金额",
    "代金券或立减优惠金额": "代金券金额",
    "代金券或立减优惠退款金额": "充值券退款金额",
    "子商户号": "特约商户号",
}
# Where a refund row has the amount that a payment has in the other column.
REFUNDED = {
    "应结订单金额": "退款金额",
    "代金券金额": "充值券退款金额",
    "订单金额": "申请退款金额",
}
COUNT = "总交易单数"
# What is longer is no row, but lines that no row begins.
ROW_MAX = 1 << 16
# The total of the fees is left out: rows have five decimals, the total has two.
SUMMED = {
    "应结订单总金额": "应结订单金额",
    "总交易额": "应结订单金额",
    "退款总金额": "退款金额",
    "总退款金额": "退款金额",
    "充值券退款总金额": "充值券退款金额",
    "总代金券或立减优惠退款金额": "充值券退款金额",
    "订单总金额": "订单金额",
    "申请退款总金额": "申请退款金额",
}


def canonical(heading: str) -> str:
    """The heading of today's layout."""
    return OLD_NAMES.get(heading, heading)


class WechatTable(ProfileTable):
    """The rows of bills, with their totals compared."""

    def _rows(self, member: BinaryIO, before: int) -> Iterator[tuple[int, Sequence[Any]]]:
        self._lines = lines = TextLines(member)
        self._continued = 0
        texts = iter(lines)
        for text in texts:
            names = [canonical(text_of(name)) for name in text.split(",")]
            if ORDER_NO not in names or STATE not in names:
                raise BadFile("not_of_profile", profile="wechat", line=str(before + lines.number))
            self.aside.headings += 1
            if self._is_first_heading(tuple(names), before + lines.number):
                yield before + lines.number, [*names, *ADDED]
            yield from self._list(names, texts, before)
        if not lines.filled:
            raise BadFile("no_rows")
        self._rows_said += lines.filled - self._continued

    def _lines_of(self, member: BinaryIO) -> int:
        return self._lines.number

    def _list(
        self, names: list[str], texts: Iterator[str], before: int
    ) -> Iterator[tuple[int, Sequence[Any]]]:
        """The rows up to the totals, which must tie."""
        row = _RowParser(names, self._use.amount)
        totals = SectionTotals(
            sums=[RunningTotal(n, i) for i, n in enumerate(names) if n in WANTED]
        )
        pending, line = "", 0
        for text in texts:
            if text[0] == "`":
                if pending:
                    yield line, row.parsed(pending, totals)
                pending, line = text, before + self._lines.number
            elif text.startswith(COUNT):
                if pending:
                    yield line, row.parsed(pending, totals)
                self._tie(text.split(","), next(texts, ""), totals)
                return
            elif pending and len(pending) < ROW_MAX:  # a line end in a goods name
                self._continued += 1
                pending += "\n" + text
            else:
                raise BadFile(
                    "not_of_profile", profile="wechat", line=str(before + self._lines.number)
                )
        raise BadFile("no_totals", total=COUNT)

    def _tie(self, names: list[str], values: str, totals: SectionTotals) -> None:
        """Compare the totals with the rows. Raises BadFile."""
        stated = dict(zip(map(text_of, names), map(text_of, values.split(",`")), strict=False))
        if not stated.get(COUNT):
            raise BadFile("no_totals", total=COUNT)
        self.aside.trailer += 2
        tie(self.aside.totals, COUNT, stated[COUNT], totals.rows, is_count=True)
        read = {total.name: total.fen for total in totals.sums}
        for name, column in SUMMED.items():
            if name in stated and column in read:
                tie(self.aside.totals, name, stated[name], read[column], is_count=False)


WANTED = frozenset(SUMMED.values())


class _RowParser:
    """Parts the rows of one heading."""

    def __init__(self, names: list[str], amount: str) -> None:
        refunded = REFUNDED.get(amount, amount)
        self._width = len(names)
        self._state = names.index(STATE)
        self._paid_at = names.index(amount) if amount in names else None
        self._refunded_at = names.index(refunded) if refunded in names else self._paid_at

    def parsed(self, text: str, totals: SectionTotals) -> Sequence[Any]:
        cells: list[Any] = text[1:].split(",`")
        totals.rows += 1
        if len(cells) != self._width:
            few = len(cells) < self._width
            cells = [*cells[: self._width], *[""] * (self._width - len(cells))]
            cells += [None, "too_few_cells" if few else "too_many_cells"]
            return cells
        for total in totals.sums:
            text = cells[total.at]
            if text != "0.00":
                total.fen += yuan_fen(text) or 0
        kind = KINDS.get(cells[self._state], "kind_unknown")
        at = self._refunded_at if kind == "refund" else self._paid_at
        moved = None if at is None else yuan_fen(cells[at])
        if kind == "refund" and moved is not None:
            moved = -abs(moved)
        cells += (moved, kind)
        return cells


def open_bill(members: Mapping[str, BinaryIO], use: ProfileUse) -> WechatTable:
    return WechatTable(list(members.values()), use)


WECHAT = Profile(ORDER_NO, "代金券金额", open_bill, canonical=canonical)
