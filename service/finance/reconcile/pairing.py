"""Which row goes with which unit of the books; pure.

A unit is a claim, or a line of one. Of what has one key, equals are paired first, then what is
left, in the order of the file: so a row is a duplicate only when there is nothing left for it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from service.finance.reconcile.mapping import Row, State

Finding = Literal[
    "matched", "missing_here", "missing_there", "amount_differs", "state_differs", "duplicate"
]
FINDINGS: tuple[Finding, ...] = (
    "matched", "missing_here", "missing_there", "amount_differs", "state_differs", "duplicate",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unit:
    """What the books have. Without `booked_on` it took no money, and has no amount to compare.
    `expected`: booked in the period, so the file should have it."""

    claim_id: str
    line_no: int | None
    amount_fen: int
    state: State
    booked_on: date | None
    expected: bool


@dataclass(frozen=True, slots=True)
class Pair:
    finding: Finding
    unit: Unit | None
    row: Row | None


def pair(units: list[Unit], rows: Iterable[Row]) -> Iterator[Pair]:
    """Everything that has one key. Holds at most as many rows as there are units."""
    free = _by_what_they_say(units)
    left = dict.fromkeys(range(len(units)))  # in order, cheap to take from
    waiting: list[Row] = []
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
    # Those that took money first: a cancelled attempt stands beside the sale that came of it.
    over = sorted((units[at] for at in left), key=lambda unit: unit.booked_on is None)
    for at, row in enumerate(waiting):
        yield _differing(over[at], row) if at < len(over) else Pair("duplicate", None, row)
    for unit in over[len(waiting) :]:
        if unit.expected:
            yield Pair("missing_there", unit, None)


Said = tuple[int | None, State | None]


def _by_what_they_say(units: list[Unit]) -> dict[Said, list[int]]:
    free: dict[Said, list[int]] = {}
    for at, unit in enumerate(units):
        if unit.booked_on is None:
            said: list[Said] = [(None, unit.state)]
        else:  # the row may say nothing of the state
            said = [(unit.amount_fen, unit.state), (unit.amount_fen, None)]
        for one in said:
            free.setdefault(one, []).append(at)
    for places in free.values():
        places.reverse()  # taken from the end
    return free


def _take_equal(units: list[Unit], free: dict[Said, list[int]], row: Row) -> int | None:
    """All rows of a file tell the state or none does, so a unit is taken through one list only."""
    for said in ((row.amount_fen, row.state), (None, row.state)):
        if places := free.get(said):
            return places.pop()
    return None


def _differing(unit: Unit, row: Row) -> Pair:
    same_state = unit.booked_on is not None if row.state is None else row.state == unit.state
    return Pair("amount_differs" if same_state else "state_differs", unit, row)
