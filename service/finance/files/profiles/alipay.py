"""Alipay's bill (trade or signcustomer): a zip of a list of transactions and a summary.

The list has lines of `#` before and after it, in any number. Its values may end in a tab, and its
refunds are negative. Nothing quotes a comma in a goods name: the two times after it say where it
ends. The summary's lines are accounted for as totals; the list has totals of its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    tie,
    yuan_fen,
)

ORDER_NO, TYPE, CREATED = "商户订单号", "业务类型", "创建时间"
KINDS: dict[str, RowKind] = {"交易": "payment", "退款": "refund"}
# The columns that the totals at the end add up, by their names there.
SUMMED = {"商家实收": "商家实收（元）", "商家优惠": "商家优惠（元）"}
PAID_TOTAL, REFUNDED_TOTAL = "交易合计", "退款合计"
HEAD_BYTES = 1 << 16

_TOTALS = re.compile(rf"#+({PAID_TOTAL}|{REFUNDED_TOTAL})[：:](\d+)笔(.*)", re.DOTALL)
_SUM = re.compile(r"(商家实收|商家优惠)(?:退款)?共(-?[\d.]+)元")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s*", re.ASCII)


def canonical(heading: str) -> str:
    """The heading with brackets of full width: layouts have either."""
    return heading.replace("(", "（").replace(")", "）")


@dataclass(slots=True)
class _Sums:
    """What the rows of one kind add up to, in fen by column."""

    rows: int = 0
    fen: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUMMED.values(), 0))


class AlipayTable(ProfileTable):
    """The rows of lists, with their totals compared, and the lines of the summaries aside."""

    def _rows(self, member: BinaryIO, before: int) -> Iterator[tuple[int, Sequence[Any]]]:
        self._lines = lines = TextLines(member)
        if _is_list(member):
            yield from self._lists(lines, before)
        else:
            self.aside.trailer += sum(1 for _ in lines)
        self._rows_said += lines.filled

    def _lines_of(self, member: BinaryIO) -> int:
        return self._lines.number

    def _lists(self, lines: TextLines, before: int) -> Iterator[tuple[int, Sequence[Any]]]:
        row: _RowParser | None = None
        totals: list[re.Match[str]] = []
        for text in lines:
            line = before + lines.number
            if text.startswith("#"):
                self._take_remark(text, totals)
            elif row is not None and not totals:
                yield line, row.parsed(text)
            else:
                if row is not None:
                    self._tie(totals, row.sums)
                    totals.clear()
                names = [canonical(text_of(name)) for name in text.split(",")]
                if not {ORDER_NO, TYPE, CREATED} <= set(names):
                    raise BadFile("not_of_profile", profile="alipay", line=str(line))
                row = _RowParser(names, self._use.amount)
                self.aside.headings += 1
                if self._is_first_heading(tuple(names), line):
                    yield line, [*names, *ADDED]
        if row is not None:
            self._tie(totals, row.sums)

    def _take_remark(self, text: str, totals: list[re.Match[str]]) -> None:
        if total := _TOTALS.match(text):
            totals.append(total)
            self.aside.trailer += 1
        else:
            self.aside.remarks += 1

    def _tie(self, totals: list[re.Match[str]], sums: dict[str, _Sums]) -> None:
        """Compare the totals with the rows. Raises BadFile."""
        stated = {total[1]: total for total in totals}
        for name, kind in ((PAID_TOTAL, "payment"), (REFUNDED_TOTAL, "refund")):
            read = sums[kind]
            if name not in stated:
                if name == PAID_TOTAL or read.rows:
                    raise BadFile("no_totals", total=name)
                continue
            _, count, amounts = stated[name].groups()
            tie(self.aside.totals, name, count, read.rows, is_count=True)
            for column, amount in _SUM.findall(amounts):
                # The sign of a refund's total says nothing about the rows.
                fen = abs(read.fen[SUMMED[column]])
                tie(self.aside.totals, name + column, amount.lstrip("-"), fen, is_count=False)


class _RowParser:
    """Parts the rows of one heading, and adds them up by kind."""

    def __init__(self, names: list[str], amount: str) -> None:
        self.sums = {"payment": _Sums(), "refund": _Sums()}
        self._width = len(names)
        self._type, self._created = names.index(TYPE), names.index(CREATED)
        self._amount = names.index(amount) if amount in names else None
        self._summed = [(name, names.index(name)) for name in SUMMED.values() if name in names]

    def parsed(self, text: str) -> Sequence[Any]:
        cells: list[Any] = text.split(",")
        if len(cells) > self._width:
            cells = self._joined(cells)
        if len(cells) < self._width:
            return [*cells, *[""] * (self._width - len(cells)), None, "too_few_cells"]
        kind = KINDS.get(text_of(cells[self._type]), "kind_unknown")
        if (sums := self.sums.get(kind)) is not None:
            sums.rows += 1
            for name, at in self._summed:
                sums.fen[name] += yuan_fen(cells[at].strip()) or 0
        moved = None if self._amount is None else yuan_fen(cells[self._amount].strip())
        if moved is not None and kind == "refund":
            moved = -abs(moved)
        elif moved is not None and moved < 0 and kind == "payment":
            kind = "sign_contradicts"
        return [*cells[: self._width], moved, kind]

    def _joined(self, cells: list[str]) -> list[str]:
        """The cells with those of a goods name that has commas as one. What is too much after the
        times belongs to remarks at the end."""
        at = self._created
        for surplus in range(len(cells) - self._width + 1):
            if all(map(_TIME.fullmatch, cells[at + surplus : at + surplus + 2])):
                name = ",".join(cells[at - 1 : at + surplus])
                return [*cells[: at - 1], name, *cells[at + surplus :]]
        return cells


def _is_list(member: BinaryIO) -> bool:
    """Whether the member is a list of transactions, by its heading: names are often garbled."""
    head = member.read(HEAD_BYTES)
    member.seek(0)
    return any(ORDER_NO.encode(encoding) in head for encoding in ("gb18030", "utf-8"))


def open_bill(members: Mapping[str, BinaryIO], use: ProfileUse) -> AlipayTable:
    lists = [member for member in members.values() if _is_list(member)]
    if not lists:
        raise BadFile("not_of_profile", profile="alipay", line="1")
    return AlipayTable([*lists, *(m for m in members.values() if m not in lists)], use)


ALIPAY = Profile(ORDER_NO, "商家优惠（元）", open_bill, canonical=canonical)
