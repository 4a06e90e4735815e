"""Alipay's bill (trade or signcustomer): a zip of a list of transactions and a summary.

The list has lines of `#` before and after it, in any number. Its values may end in a tab, and its
refunds are negative. Nothing quotes a comma in a goods name: the two times after it say where it
ends. The list has totals of its own. The summary's lines are accounted for as totals, if its name,
its title and its heading are a summary's. A member of any other kind is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    tie,
)

ORDER_NO, TYPE, CREATED = "商户订单号", "业务类型", "创建时间"
KINDS: dict[str, RowKind] = {"交易": "payment", "退款": "refund"}
# The columns that the totals at the end add up, by their names there.
SUMMED = {"商家实收": "商家实收（元）", "商家优惠": "商家优惠（元）"}
PAID_TOTAL, REFUNDED_TOTAL = "交易合计", "退款合计"
# What the summary is called, in its name and its title, and what is compared of it.
SUMMARY, SUMMARY_TOTAL, SALES_COUNT = "汇总", "合计", "交易订单总笔数"

_TOTALS = re.compile(rf"#+({PAID_TOTAL}|{REFUNDED_TOTAL})[：:]([\d,]+)笔(.*)", re.DOTALL)
_SUM = re.compile(r"(商家实收|商家优惠)(?:退款)?共(-?[\d.,]+)元")
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
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

    def __init__(
        self, lists: Sequence[BinaryIO], summaries: Sequence[BinaryIO], use: ProfileUse
    ) -> None:
        super().__init__([*lists, *summaries], use)
        self._summaries = summaries
        self._sales = 0
        self._sales_said: int | None = None

    def __iter__(self) -> Iterator[tuple[int, Sequence[Any]]]:
        yield from super().__iter__()
        if self._sales_said is not None:
            name, stated = f"汇总 {SALES_COUNT}", str(self._sales_said)
            tie(self.aside.totals, name, stated, self._sales, is_count=True)

    def _rows(self, member: BinaryIO, before: int) -> Iterator[tuple[int, Sequence[Any]]]:
        self._lines = lines = TextLines(member)
        if member in self._summaries:
            self._read_summary(lines, before)
        else:
            yield from self._lists(lines, before)
        self._rows_said += lines.filled

    def _lines_of(self, member: BinaryIO) -> int:
        return self._lines.number

    def _lists(self, lines: TextLines, before: int) -> Iterator[tuple[int, Sequence[Any]]]:
        row: _RowParser | None = None
        totals: list[re.Match[str]] = []
        longest, longest_line = 0, 0  # the remark before a heading with the most cells
        for text in lines:
            line = before + lines.number
            is_listed = row is not None and not totals
            is_remark = text.startswith("#")
            cells = text.count(",") + 1 if is_remark else 0
            if row is not None and is_listed and (not is_remark or cells * 2 > row.width):
                yield line, row.parsed(text, line)
            elif is_remark:
                if not is_listed and cells > longest:
                    longest, longest_line = cells, line
                self._take_remark(text, totals)
            else:
                if row is not None:
                    self._tie(totals, row)
                    totals.clear()
                names = [canonical(text_of(name)) for name in text.split(",")]
                if not {ORDER_NO, TYPE, CREATED} <= set(names):
                    raise _not_ours(line)
                row = _RowParser(names, self._use.amount)
                if longest * 2 > row.width:  # a row outside the list
                    raise _not_ours(longest_line)
                longest = 0
                self.aside.headings += 1
                if self._is_first_heading(tuple(names), line):
                    yield line, [*names, *ADDED]
        if row is None:
            raise BadFile("no_rows")
        if longest * 2 > row.width:
            raise _not_ours(longest_line)
        self._tie(totals, row)

    def _take_remark(self, text: str, totals: list[re.Match[str]]) -> None:
        if total := _TOTALS.match(text):
            totals.append(total)
            self.aside.trailer += 1
        else:
            self.aside.remarks += 1

    def _tie(self, totals: list[re.Match[str]], row: "_RowParser") -> None:
        """Compare the totals with the rows. Raises BadFile."""
        stated = {total[1]: total for total in totals}
        if len(stated) < len(totals):
            raise BadFile("no_totals", total=totals[-1][1])
        for name, kind in ((PAID_TOTAL, "payment"), (REFUNDED_TOTAL, "refund")):
            read = row.sums[kind]
            if name in stated:
                self._tie_kind(stated[name], read, row)
            elif name == PAID_TOTAL or read.rows:
                raise BadFile("no_totals", total=name)
        self._sales += row.sums["payment"].rows

    def _tie_kind(self, total: re.Match[str], read: _Sums, row: "_RowParser") -> None:
        name, count, text = total.groups()
        amounts = _SUM.findall(text)
        if missing := [column for column in row.summed if column not in dict(amounts)]:
            raise BadFile("no_totals", total=name + missing[0])
        aside, unclear = self.aside.totals, row.unclear_line
        tie(aside, name, count, read.rows, is_count=True, unclear_line=unclear)
        for column, amount in amounts:
            # The sign of a refund's total says nothing about the rows.
            fen = abs(read.fen[SUMMED[column]])
            stated = amount.lstrip("-")
            tie(aside, name + column, stated, fen, is_count=False, unclear_line=unclear)

    def _read_summary(self, lines: TextLines, before: int) -> None:
        """Set the lines aside if they are a summary's, and note how many sales it has. Its other
        columns are not compared: whether refunds are in them is not known. Raises BadFile."""
        names: list[str] | None = None
        is_titled = False
        sales: list[int] = []
        for text in lines:
            self.aside.trailer += 1
            if text.startswith("#"):
                is_titled |= SUMMARY in text
                if names is None or text.count(",") + 1 < len(names):
                    continue
            cells = [canonical(text_of(cell)) for cell in text.split(",")]
            if names is None and is_titled and SALES_COUNT in cells and ORDER_NO not in cells:
                names = cells
            elif names is not None and len(cells) >= len(names):
                # Counted from the end: a shop's name may have commas.
                count = cells[names.index(SALES_COUNT) - len(names)]
                if not _COUNT.fullmatch(count):
                    raise _not_ours(before + lines.number)
                sales.append(int(count))
                if cells[0] == SUMMARY_TOTAL:
                    sales = [int(count)]
            else:
                raise _not_ours(before + lines.number)
        if names is None:
            raise _not_ours(before + 1)
        self._sales_said = (self._sales_said or 0) + sum(sales)


def _not_ours(line: int) -> BadFile:
    return BadFile("not_of_profile", profile="alipay", line=str(line))


class _RowParser:
    """Parts the rows of one heading, and adds them up by kind. `summed`: the names in the totals of
    the columns that are added up."""

    def __init__(self, names: list[str], amount: str) -> None:
        self.sums = {"payment": _Sums(), "refund": _Sums()}
        self.summed = [total for total, name in SUMMED.items() if name in names]
        self.unclear_line: int | None = None
        self.width = len(names)
        self._type, self._created = names.index(TYPE), names.index(CREATED)
        self._amount = names.index(amount) if amount in names else None
        self._amounts = [at for at, name in enumerate(names) if name.endswith("（元）")]
        self._columns = [(name, names.index(name)) for name in SUMMED.values() if name in names]

    def parsed(self, text: str, line: int) -> Sequence[Any]:
        cells: list[Any] = text.split(",")
        why: RowKind | None = None
        if len(cells) > self.width:
            cells = self._joined(cells)
            if len(cells) > self.width:
                self.unclear_line = self.unclear_line or line
                if not self._has_amounts(cells):
                    why = "too_many_cells"
                    cells = self._amounts_aligned(cells) or cells
        if len(cells) < self.width:
            self.unclear_line = self.unclear_line or line
            return [*cells, *[""] * (self.width - len(cells)), None, "too_few_cells"]
        kind = KINDS.get(text_of(cells[self._type]), "kind_unknown")
        if (sums := self.sums.get(kind)) is not None:
            sums.rows += 1
            for name, at in self._columns:
                sums.fen[name] += yuan_fen(cells[at].strip()) or 0
        if why is not None:
            return [*cells[: self.width], None, why]
        moved = None if self._amount is None else yuan_fen(cells[self._amount].strip())
        if moved is not None and kind == "refund":
            moved = -abs(moved)
        elif moved is not None and moved < 0 and kind == "payment":
            kind = "sign_contradicts"
        return [*cells[: self.width], moved, kind]

    def _joined(self, cells: list[str]) -> list[str]:
        """The cells with those of a goods name that has commas as one. What is too much after the
        times belongs to remarks at the end, if the amounts are where they should be."""
        at = self._created
        for surplus in range(len(cells) - self.width + 1):
            if all(map(_TIME.fullmatch, cells[at + surplus : at + surplus + 2])):
                name = ",".join(cells[at - 1 : at + surplus])
                return [*cells[: at - 1], name, *cells[at + surplus :]]
        return cells

    def _amounts_aligned(self, cells: list[str]) -> list[str] | None:
        """The cells with those of another name that has commas as one, so that amounts are where
        they should be: every such reading must give the same amounts. None if there is none."""
        surplus = len(cells) - self.width
        readings = {}
        for at in range(self._created + 2, self.width):
            name = ",".join(cells[at : at + surplus + 1])
            reading = [*cells[:at], name, *cells[at + surplus + 1 :]]
            if self._has_amounts(reading):
                readings[tuple(reading[amount] for amount in self._amounts)] = reading
        return readings.popitem()[1] if len(readings) == 1 else None

    def _has_amounts(self, cells: list[str]) -> bool:
        texts = [cells[at].strip() for at in self._amounts]
        return any(texts[:1]) and all(not text or yuan_fen(text) is not None for text in texts)


def _is_summary(name: str) -> bool:
    """Whether the member is called a summary. Names in UTF-8 that do not say so come garbled."""
    names = [name]
    for encoding in ("gb18030", "cp437"):
        names.append(name.encode(encoding, "ignore").decode("utf-8", "ignore"))
    return any(SUMMARY in text for text in names)


def open_bill(members: Mapping[str, BinaryIO], use: ProfileUse) -> AlipayTable:
    summaries = [member for name, member in members.items() if _is_summary(name)]
    lists = [member for member in members.values() if member not in summaries]
    if not lists:
        raise _not_ours(1)
    return AlipayTable(lists, summaries, use)


ALIPAY = Profile(ORDER_NO, "商家优惠（元）", open_bill, canonical=canonical)
