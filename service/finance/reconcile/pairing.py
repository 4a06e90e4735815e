"""Pairs the rows of a file with the units of the ledger. Pure functions.

A unit is a claim or a line of one. Rows and units with the same key are paired: first those that
are equal, then the rest in the order of the file. So a row is a duplicate only if no unit is left.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from service.finance.reconcile.mapping import FileRow, RowState

PairFinding = Literal[
    "matched", "missing_here", "missing_there", "amount_differs", "state_differs", "duplicate",
    "rounding", "refunded", "unsubsidised",
]  # fmt: skip
PAIR_FINDINGS: tuple[PairFinding, ...] = (
    "matched", "missing_here", "missing_there", "amount_differs", "state_differs", "duplicate",
    "rounding", "refunded", "unsubsidised",
)  # fmt: skip
# No mismatches. The last three occur with a profile only (profile_pairs.py).
AGREEING: frozenset[PairFinding] = frozenset({"matched", "rounding", "refunded", "unsubsidised"})


@dataclass(frozen=True, slots=True)
class LedgerUnit:
    """A claim or a line of one, as the ledger has it. Without `booked_on` no money was paid, and
    the amount is not compared. `expected`: booked in the period, so the file should have it.
    `returned_fen`: what came back of it, and `returned_in_period_fen`: what of that was booked in
    the period. None where it is not known."""

    claim_id: str
    line_no: int | None
    amount_fen: int
    state: RowState
    booked_on: date | None
    expected: bool
    returned_fen: int | None = None
    returned_in_period_fen: int | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """`unmoved`: a row that moved no money, where the ledger has no movement without a row."""

    finding: PairFinding | Literal["unmoved"]
    unit: LedgerUnit | None
    row: FileRow | None


def pair_off(units: list[LedgerUnit], rows: Iterable[FileRow]) -> Iterator[Pair]:
    """Pair the units and rows of one key. Holds at most as many rows as there are units."""
    free = _by_content(units)
    left = dict.fromkeys(range(len(units)))  # in order, cheap to take from
    waiting: list[FileRow] = []
    first = True
    for row in rows:
        at = _take_equal(units, free, row)
        if at is not None:
            del left[at]
            yield Pair("matched", units[at], row)
        elif len(waiting) < len(units):
            waiting.append(row)
        else:
            yield Pair("missing_here" if first and not units else "duplicate", None, row)
        first = False
    # Paid units first: a cancelled attempt often has the same key as the sale that followed it.
    unpaired = sorted((units[at] for at in left), key=lambda unit: unit.booked_on is None)
    for at, row in enumerate(waiting):
        yield _differing(unpaired[at], row) if at < len(unpaired) else Pair("duplicate", None, row)
    for unit in unpaired[len(waiting) :]:
        if unit.expected:
            yield Pair("missing_there", unit, None)


Content = tuple[int | None, RowState | None]


def _by_content(units: list[LedgerUnit]) -> dict[Content, list[int]]:
    free: dict[Content, list[int]] = {}
    for at, unit in enumerate(units):
        if unit.booked_on is None:
            contents: list[Content] = [(None, unit.state)]
        else:  # the file may have no state column
            contents = [(unit.amount_fen, unit.state), (unit.amount_fen, None)]
        for content in contents:
            free.setdefault(content, []).append(at)
    for places in free.values():
        places.reverse()  # pop() takes from the end
    return free


def _take_equal(
    units: list[LedgerUnit], free: dict[Content, list[int]], row: FileRow
) -> int | None:
    """Take the first free unit with the row's content. Returns its index. Either all rows of a file
    have a state or none has, so a unit is never taken through two lists."""
    for content in ((row.amount_fen, row.state), (None, row.state)):
        if places := free.get(content):
            return places.pop()
    return None


def _differing(unit: LedgerUnit, row: FileRow) -> Pair:
    same_state = unit.booked_on is not None if row.state is None else row.state == unit.state
    return Pair("amount_differs" if same_state else "state_differs", unit, row)
