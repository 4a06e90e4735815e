"""WeChat's trade bill (交易账单): ALL, SUCCESS or REFUND, of any age.

A heading without guards, rows whose every value begins with a backtick, a heading of totals, and
one row of them. A goods name may have commas and line ends, and nothing quotes it. So a row is
parted where a comma is followed by a backtick. The next line continues it while it lacks cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from service.finance.files.cells import text_of, yuan_fen
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
)

ORDER_NO, STATE, REFUND_STATE, GOODS = "商户订单号", "交易状态", "退款状态", "商品名称"
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
# The states of a refund whose money came back. Others failed, or are not done.
CAME_BACK = ("SUCCESS", "")
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
        pending, line, filled = "", 0, 0
        for text in texts:
            number = before + self._lines.number
            added = text.count(",`")
            is_whole = filled >= row.width
            if pending and not is_whole and _continues(text, filled + added <= row.width):
                if len(pending) > ROW_MAX:
                    raise BadFile("not_of_profile", profile="wechat", line=str(number))
                self._continued += 1
                pending += "\n" + text
                filled += added
            elif text[0] == "`":
                if pending:
                    yield line, row.parsed(pending, line)
                pending, line, filled = text, number, added + 1
            elif text.startswith(COUNT):
                if pending:
                    yield line, row.parsed(pending, line)
                self._tie(text.split(","), next(texts, ""), row.totals)
                return
            else:
                raise BadFile("not_of_profile", profile="wechat", line=str(number))
        raise BadFile("no_totals", total=COUNT)

    def _tie(self, names: list[str], values: str, totals: SectionTotals) -> None:
        """Compare the totals with the rows. Raises BadFile."""
        stated = dict(zip(map(text_of, names), map(text_of, values.split(",`")), strict=False))
        for name in map(text_of, names):
            if not stated.get(name) and (name == COUNT or name in SUMMED):
                raise BadFile("no_totals", total=name)
        read = {total.name: total.fen for total in totals.sums}
        summed = {name: SUMMED[name] for name in stated if SUMMED.get(name) in read}
        if not summed:
            raise BadFile("no_totals", total="应结订单总金额")
        self.aside.trailer += 2
        unclear = totals.unclear_line
        aside = self.aside.totals
        tie(aside, COUNT, stated[COUNT], totals.rows, is_count=True, unclear_line=unclear)
        for name, column in summed.items():
            tie(aside, name, stated[name], read[column], is_count=False, unclear_line=unclear)


WANTED = frozenset(SUMMED.values())


def _continues(text: str, fits: bool) -> bool:
    """Whether the line belongs to the row before it, which lacks cells: a goods name has line ends.
    `fits`: the row would not get too many cells."""
    if text[0] == "`":
        return fits
    # A heading of totals has no guards, and more than one name.
    return not text.startswith(f"{COUNT},") or "`" in text


class _RowParser:
    """Parts the rows of one heading, and adds them up."""

    def __init__(self, names: list[str], amount: str) -> None:
        refunded = REFUNDED.get(amount, amount)
        self.width = len(names)
        self.totals = SectionTotals(
            sums=[RunningTotal(n, i) for i, n in enumerate(names) if n in WANTED]
        )
        self._goods = names.index(GOODS) if GOODS in names else self.width - 1
        self._state = names.index(STATE)
        self._refund_state = names.index(REFUND_STATE) if REFUND_STATE in names else None
        self._paid_at = names.index(amount) if amount in names else None
        self._refunded_at = names.index(refunded) if refunded in names else self._paid_at

    def parsed(self, text: str, line: int) -> Sequence[Any]:
        cells: list[Any] = text[1:].split(",`")
        self.totals.rows += 1
        if len(cells) != self.width:
            return self._unclear(cells, line)
        self._add_up(cells)
        cells += self._moved(cells)
        return cells

    def _unclear(self, cells: list[Any], line: int) -> Sequence[Any]:
        """A bad row. What it has too many of belongs to its goods name, so it can be added up."""
        self.totals.unclear_line = self.totals.unclear_line or line
        surplus = len(cells) - self.width
        if surplus < 0:
            return [*cells, *[""] * -surplus, None, "too_few_cells"]
        at = self._goods
        self._add_up([*cells[: at + 1], *cells[at + 1 + surplus :]])
        return [*cells[: self.width], None, "too_many_cells"]

    def _add_up(self, cells: list[Any]) -> None:
        for total in self.totals.sums:
            text = cells[total.at]
            if text != "0.00":
                total.fen += yuan_fen(text) or 0

    def _moved(self, cells: list[Any]) -> tuple[int | None, RowKind]:
        """What the row moved, and how. Money in the other kind's column contradicts its state."""
        kind = KINDS.get(cells[self._state], "kind_unknown")
        own, other = self._paid_at, self._refunded_at
        if own is None or other is None or kind == "kind_unknown":
            return None, kind
        if kind == "refund":
            own, other = other, own
            if self._refund_state is not None and cells[self._refund_state] not in CAME_BACK:
                return None, "kind_unknown"
        fen = yuan_fen(cells[own])
        other_fen = 0 if own == other or not cells[other] else yuan_fen(cells[other])
        if fen is None or other_fen is None:
            return None, kind
        if kind == "payment":
            return fen, "sign_contradicts" if fen < 0 or other_fen else kind
        agrees = abs(other_fen) in (0, abs(fen))
        return -abs(fen), kind if agrees else "sign_contradicts"


def open_bill(members: Mapping[str, BinaryIO], use: ProfileUse) -> WechatTable:
    return WechatTable(list(members.values()), use)


WECHAT = Profile(ORDER_NO, "代金券金额", open_bill, canonical=canonical)
