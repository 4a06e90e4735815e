"""What a platform's file is, as data, and what its table adds to each row."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, BinaryIO, Literal

from service.finance.files.archive import ZIP
from service.finance.files.faults import BadFile
from service.finance.files.table import PlatformTotal, RowsAside, Table
from service.finance.files.workbook import is_old_workbook

ProfileName = Literal["wechat", "alipay", "unionpay", "yjhx", "payout"]
# What becomes of a row: money to the buyer, money back, or a reason why a person must look.
RowKind = Literal[
    "payment", "refund", "kind_unknown", "sign_contradicts", "too_few_cells", "too_many_cells",
    "dispute", "reference_unreadable", "reference_repeated", "formula_failed",
]  # fmt: skip
# The headings that every table of a profile adds, at the end. No platform has them.
# MOVED: the amount in fen as an int, negative at a refund; None if it cannot be read.
MOVED, KIND = "butie:moved_fen", "butie:kind"
ADDED = (MOVED, KIND)

# Bounded: an exponent or a million digits would cost more than any file.
_STATED = re.compile(r"-?(\d{1,3}(,\d{3}){1,6}|\d{1,20})(\.\d{0,6})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ProfileUse:
    """How a file is to be read. `amount`: the heading of the amount that is compared. `until`: the
    last day of the period, for a file that does not say its year. `sheet`: a workbook's."""

    profile: ProfileName
    amount: str
    until: date
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """`order_no` and `amount`: the headings that are compared unless others are named.
    `amount_is`: what the ledger has of it. `tolerance_fen`: by how much a subsidy that somebody
    else computed may differ. `canonical`: a heading as the table gives it out. `has_all_sales`:
    also those without a subsidy."""

    order_no: str
    amount: str
    open: Callable[[Mapping[str, BinaryIO], ProfileUse], Table]
    amount_is: Literal["granted", "price"] = "granted"
    tolerance_fen: int = 0
    canonical: Callable[[str], str] = str
    has_all_sales: bool = True


class ProfileTable:
    """The rows of all members of a download as one table. Lines count on from one member to the
    next. A subclass reads one member."""

    sheet = ""
    are_workbooks = False

    def __init__(self, members: Sequence[BinaryIO], use: ProfileUse) -> None:
        self._members = members
        self._use = use
        self._size = max(sum(member.seek(0, 2) for member in members), 1)
        self._before = 0  # bytes of the members that are read
        self._reading: BinaryIO | None = None
        self._rows_said = 0
        self._heading: tuple[str, ...] | None = None
        self.aside = RowsAside(headings=0)

    def rows_said(self) -> int:
        return self._rows_said

    def share(self) -> float:
        now = 0 if self._reading is None or self._reading.closed else self._reading.tell()
        return min((self._before + now) / self._size, 1)

    def __iter__(self) -> Iterator[tuple[int, Sequence[Any]]]:
        lines = 0
        for member in self._members:
            member.seek(0)
            self._check_kind(member, lines + 1)
            self._reading = member
            yield from self._rows(member, lines)
            lines += self._lines_of(member)
            self._before += member.seek(0, 2)
            self._reading = None

    def _check_kind(self, member: BinaryIO, line: int) -> None:
        """Raises BadFile for a workbook where text belongs, and the other way round."""
        if self._use.sheet is not None and not self.are_workbooks:
            raise BadFile("no_sheets")
        head = member.read(4)
        member.seek(0)
        if is_old_workbook(head):
            raise BadFile("old_workbook")
        if self.are_workbooks != (head == ZIP):
            raise BadFile("not_of_profile", profile=self._use.profile, line=str(line))

    def _rows(self, member: BinaryIO, before: int) -> Iterator[tuple[int, Sequence[Any]]]:
        """The rows of a member, with `before` added to their lines. Raises BadFile."""
        raise NotImplementedError

    def _lines_of(self, member: BinaryIO) -> int:
        """How many lines the member had. Asked when it is read."""
        raise NotImplementedError

    def _is_first_heading(self, heading: tuple[str, ...], line: int) -> bool:
        """Whether the heading is to be given out: the table has one. Raises BadFile for another
        layout below it."""
        if self._heading is None:
            self._heading = heading
            return True
        if heading != self._heading:
            raise BadFile("headings_differ", line=str(line))
        return False


@dataclass(slots=True)
class RunningTotal:
    """The sum of the column `name`, which is at `at`."""

    name: str
    at: int
    fen: int = 0


@dataclass(slots=True)
class SectionTotals:
    """The number and the sums of the rows of one list. `unclear_line`: the first row that has not
    the cells of the heading."""

    rows: int = 0
    unclear_line: int | None = None
    sums: list[RunningTotal] = field(default_factory=list)


def tie(
    totals: list[PlatformTotal],
    name: str,
    stated: str,
    read: int,
    *,
    is_count: bool,
    unclear_line: int | None = None,
) -> None:
    """Note a total that ties. `unclear_line`: a line that has not
    the cells of the heading, to blame. Raises BadFile."""
    if _STATED.fullmatch(stated):
        stated_fen = Decimal(stated.replace(",", "")) * 100  # it may be above AMOUNT_MAX_FEN
    else:
        stated, stated_fen = "?", None  # what it is instead may be personal data
    expected = read * 100 if is_count else read
    shown = str(read) if is_count else yuan_text(read)
    if stated_fen == expected:
        totals.append(PlatformTotal(name, stated, shown))
    elif unclear_line is not None:
        raise BadFile("row_unclear", line=str(unclear_line), total=name)
    else:
        raise BadFile("totals_differ", total=name, stated=stated, read=shown)


def yuan_text(fen: int) -> str:
    """The amount in yuan, as platforms write it."""
    whole, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{whole}.{rest:02}"
