"""UnionPay's merchant file (全渠道): records of a fixed width in bytes, in a zip or alone.

Members with ZM_ have sales and refunds, members with ZME_ have faults and chargebacks. A record is
cut by bytes first and decoded afterwards: a Chinese character takes two of them. No record of an
order is in a ZME_ member, so each of its records is given out for a person to look at. The file has
no totals: only that its records are whole can be seen.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from pathlib import PurePath
from typing import Any, BinaryIO, NamedTuple

from service.finance.files.cells import AMOUNT_MAX_FEN
from service.finance.files.faults import BadFile
from service.finance.files.profiles.profile import (
    ADDED,
    Profile,
    ProfileTable,
    ProfileUse,
    RowKind,
)

FIELDS = (
    ("交易代码", 3), ("代理机构", 11), ("发送机构", 11), ("跟踪号", 6), ("传输时间", 10),
    ("账号", 19),
    ("交易金额", 12), ("商户类别", 4), ("终端类型", 2), ("查询流水号", 21), ("支付方式(旧)", 2),
    ("商户订单号", 32), ("卡类型", 2), ("原跟踪号", 6), ("原日期时间", 10), ("手续费", 13),
    ("结算金额", 13), ("支付方式", 4), ("集团商户", 15), ("交易类型", 2), ("子类", 2),
    ("业务类型", 6),
    ("帐号类型", 2), ("账单类型", 4), ("账单号码", 32), ("交互方式", 1), ("原查询流水号", 21),
    ("商户代码", 15), ("分账入账方式", 1), ("二级商户", 15), ("二级简称", 32), ("分账金额", 13),
    ("清算净额", 13), ("终端号", 8), ("自定义域", 32), ("优惠金额", 13), ("发票金额", 13),
    ("分期手续费", 12), ("期数", 2), ("介质", 1), ("原订单号", 32), ("保留", 98),
)  # fmt: skip
DISPUTE_WIDTHS = (
    3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2, 135,
)  # fmt: skip
NAMES = tuple(name for name, _ in FIELDS)
ORDER_NO, AMOUNT = "商户订单号", "优惠金额"
SENT, TYPE = NAMES.index("传输时间"), NAMES.index("交易类型")
OWN_ORDER_NO, SALE_ORDER_NO = NAMES.index(ORDER_NO), NAMES.index("原订单号")
# What the others are is not proven: a person must look at them.
KINDS: dict[str, RowKind] = {"01": "payment", "04": "refund"}

_SIGNED = re.compile(r"([CD]?)(\d+)", re.ASCII)
_ORDER_NO = re.compile(r"[0-9A-Za-z]{8,32}")
_SETTLED_ON = re.compile(r"INN(\d{6})(\d\d)")


class Layout(NamedTuple):
    """Where the fields of a record are, in bytes, and where what separates them. `separators`:
    without the last, as an older layout has the last two fields as one."""

    size: int
    fields: tuple[slice, ...]
    separators: tuple[int, ...]


def layout_of(widths: Sequence[int]) -> Layout:
    ends = [end + n for n, end in enumerate(accumulate(widths))]
    fields = tuple(slice(end - width, end) for end, width in zip(ends, widths, strict=True))
    return Layout(ends[-1], fields, tuple(ends[:-2]))


SALES = layout_of([width for _, width in FIELDS])
DISPUTES = layout_of(DISPUTE_WIDTHS)


class UnionpayTable(ProfileTable):
    """The records of all members. `names` are theirs, in the same order."""

    def __init__(self, members: Sequence[BinaryIO], names: Sequence[str], use: ProfileUse) -> None:
        super().__init__(members, use)
        self._names = dict(zip(map(id, members), names, strict=True))
        self._line = 0
        self._amount = NAMES.index(use.amount) if use.amount in NAMES else None

    def __iter__(self) -> Iterator[tuple[int, Sequence[Any]]]:
        yield 1, [*NAMES, *ADDED]  # which no line of the file is
        yield from super().__iter__()

    def _lines_of(self, member: BinaryIO) -> int:
        return self._line

    def _rows(self, member: BinaryIO, before: int) -> Iterator[tuple[int, Sequence[Any]]]:
        name = self._names[id(member)]
        settled_on = settlement_day(name) or self._use.until
        size = _size(member, name)
        layout = DISPUTES if size == DISPUTES.size else SALES
        self._rows_said += _records_in(member, layout.size)
        for self._line, record in _records(member, layout, before):
            if layout is DISPUTES:
                yield before + self._line, [*[""] * len(NAMES), None, "dispute"]
            else:
                yield before + self._line, self._parsed(record, settled_on)

    def _parsed(self, record: bytes, settled_on: date) -> Sequence[Any]:
        cells: list[Any]
        if record.isascii():
            text = record.decode()
            cells = [text[field].strip() for field in SALES.fields]
        else:  # a platform may cut a name in a character, and no name is compared
            fields = [record[field] for field in SALES.fields]
            cells = [field.decode("gb18030", "replace").strip() for field in fields]
        kind = KINDS.get(cells[TYPE], "kind_unknown")
        if kind == "refund" and _ORDER_NO.fullmatch(cells[SALE_ORDER_NO]):
            # A refund has an order number of its own; it is compared by that of its sale.
            cells[OWN_ORDER_NO] = cells[SALE_ORDER_NO]
        moved = None
        if self._amount is not None and kind != "kind_unknown":
            moved, contradicts = _moved_fen(cells[self._amount], kind)
            kind = "sign_contradicts" if contradicts else kind
        cells[SENT] = sent(cells[SENT], settled_on)
        return [*cells, moved, kind]


def _size(member: BinaryIO, name: str) -> int:
    """How long a record should be: by the member's name, else by its first line."""
    if "ZME_" in name:
        return DISPUTES.size
    if "ZM_" in name:
        return SALES.size
    first = member.readline(SALES.size + 2).rstrip(b"\r\n")
    member.seek(0)
    return DISPUTES.size if len(first) == DISPUTES.size else SALES.size


def _records(member: BinaryIO, layout: Layout, before: int) -> Iterator[tuple[int, bytes]]:
    """(line, record). Raises BadFile for one that is not whole."""
    line = 0
    separators = layout.separators
    while record := member.readline(layout.size + 3):
        line += 1
        record = record.rstrip(b"\r\n")
        if not record:
            continue
        if len(record) != layout.size:
            facts = {"bytes": str(len(record)), "expected": str(layout.size)}
            raise BadFile("record_cut", line=str(before + line), **facts)
        between = record[separators[0]]
        if any(record[at] != between for at in separators):
            raise BadFile("record_shifted", line=str(before + line))
        yield line, record


def _records_in(member: BinaryIO, size: int) -> int:
    """How many records the member's bytes are enough for, without its line ends."""
    filled = 0
    while piece := member.read(1 << 20):
        filled += len(piece) - piece.count(b"\n") - piece.count(b"\r")
    member.seek(0)
    return -(-filled // size)


def _moved_fen(text: str, kind: RowKind) -> tuple[int | None, bool]:
    """(the amount, negative if it came back; whether its sign says otherwise). C is for
    money to the merchant's account, D for money from it."""
    signed = _SIGNED.fullmatch(text)
    if not text:
        return 0, False
    if signed is None or (fen := int(signed[2])) > AMOUNT_MAX_FEN:
        return None, False
    moved = -fen if kind == "refund" else fen
    return moved, bool(fen) and signed[1] == ("C" if kind == "refund" else "D")


def settlement_day(name: str) -> date | None:
    """The day in the name of a member: `INN` and YYMMDD, or YYYYMMDD. None if it has none."""
    digits = _SETTLED_ON.search(name)
    if digits is None:
        return None
    for text in (f"20{digits[1]}", digits[1] + digits[2]):
        try:
            return datetime.strptime(text, "%Y%m%d").date()
        except ValueError:
            continue
    return None


def sent(text: str, settled_on: date) -> str:
    """The time MMDDhhmmss of a transaction with its year, or the text itself if it is no time."""
    day = _sent_on(text[:4], settled_on)
    clock = text[4:]
    if day is None or len(clock) != 6 or not clock.isdecimal():
        return text
    return f"{day} {clock[:2]}:{clock[2:4]}:{clock[4:]}"


@lru_cache(maxsize=1000)
def _sent_on(text: str, settled_on: date) -> date | None:
    """The day MMDD in the year in which it is not after its settlement."""
    for year in range(settled_on.year, settled_on.year - 5, -1):  # a leap day, at last
        try:
            day = datetime.strptime(f"{year}{text}", "%Y%m%d").date()
        except ValueError:
            continue
        if day <= settled_on + timedelta(days=1):
            return day
    return None


def _name(name: str, file: BinaryIO) -> str:
    """The member's name, or that of a file that is in no archive."""
    path = getattr(file, "name", None)
    return PurePath(path).name if not name and isinstance(path, str) else name


def open_bill(members: Mapping[str, BinaryIO], use: ProfileUse) -> UnionpayTable:
    if [*members] == [""] and not members[""].seek(0, 2):
        raise BadFile("no_rows")  # where an archive may have empty members
    named = [(_name(name, file), file) for name, file in members.items()]
    named.sort(key=lambda member: "ZME_" in member[0])  # sales first
    return UnionpayTable([file for _, file in named], [name for name, _ in named], use)


UNIONPAY = Profile(ORDER_NO, AMOUNT, open_bill)
