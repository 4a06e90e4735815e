"""What a replay adds up: by scheme, category, grade and month, by pool and by retailer."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from service.core.reasons import ReasonCode


@dataclass(frozen=True, slots=True, order=True)
class CellKey:
    """`grade`: empty where none was sent. `month`: its first day."""

    scheme: str
    category: str
    grade: str
    month: date


@dataclass(slots=True)
class Cell:
    """Lines and fen under the replayed policy, and in the ledger (`booked`).

    A refunded line is granted, and has no money. A hold that was cancelled or expired is `ended`
    and neither. `refused` counts a line under its first reason. `more` and `less`: lines that get
    more, or less, than in the ledger.
    """

    lines: int = 0
    granted: int = 0
    refunded: int = 0
    ended: int = 0
    subsidy_fen: int = 0
    sales_fen: int = 0
    booked: int = 0
    booked_fen: int = 0
    booked_sales_fen: int = 0
    more: int = 0
    less: int = 0
    age_unproved: int = 0
    refused: Counter[ReasonCode] = field(default_factory=Counter)

    @property
    def difference_fen(self) -> int:
        return self.subsidy_fen - self.booked_fen

    def add(self, other: "Cell") -> None:
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.refused.update(other.refused)


_NUMBERS = tuple(name for name in Cell.__dataclass_fields__ if name != "refused")


@dataclass(slots=True)
class PoolTally:
    """A pool's money. `budget_fen`: what there was, with all that came in during the period.
    `ran_out_on`: the first day on which a line was refused for want of money."""

    budget_fen: int
    left_fen: int = 0
    refused: int = 0
    refused_fen: int = 0
    ran_out_on: date | None = None
    last_refused_on: date | None = None


@dataclass(slots=True)
class RetailerTally:
    subsidy_fen: int = 0
    booked_fen: int = 0

    @property
    def difference_fen(self) -> int:
        return self.subsidy_fen - self.booked_fen


@dataclass(slots=True)
class ReplayTally:
    """`claims`: with those that only use up quotas."""

    cells: dict[CellKey, Cell] = field(default_factory=dict)
    pools: dict[str, PoolTally] = field(default_factory=dict)
    retailers: dict[str, RetailerTally] = field(default_factory=dict)
    claims: int = 0

    def by(self, group: Callable[[CellKey], Any]) -> dict[Any, Cell]:
        """The cells summed by a part of their key, which orders the sums."""
        sums: dict[Any, Cell] = {}
        for key in sorted(self.cells, key=group):
            sums.setdefault(group(key), Cell()).add(self.cells[key])
        return sums

    @property
    def total(self) -> Cell:
        return summed(self.cells.values())


def summed(cells: Iterable[Cell]) -> Cell:
    total = Cell()
    for cell in cells:
        total.add(cell)
    return total


def extremes(
    differences: dict[str, int], most: int
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """(those that gain most, those that lose most), the largest first, at most `most` each."""
    ranked = sorted(differences.items(), key=lambda entry: (-entry[1], entry[0]))
    gained = [entry for entry in ranked if entry[1] > 0][:most]
    lost = sorted(
        (entry for entry in ranked if entry[1] < 0), key=lambda entry: (entry[1], entry[0])
    )[:most]
    return gained, lost
