"""What every kind of file gives out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

ROWS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class PlatformTotal:
    """A total that the file says of itself, and what its rows add up to: a number of rows, or
    yuan."""

    name: str
    stated: str
    read: str


@dataclass(slots=True)
class RowsAside:
    """The rows of a file that its table does not give out, complete when the iteration has ended.
    `headings` has the one that is given out as well. `totals`: those of the platform, which tie."""

    headings: int = 1
    skipped: int = 0
    remarks: int = 0
    trailer: int = 0
    totals: list[PlatformTotal] = field(default_factory=list)


NOTHING_ASIDE = RowsAside()


class Table(Protocol):
    """The rows of a file. Iterate once; raises BadFile meanwhile."""

    @property
    def sheet(self) -> str:
        """The sheet's or the archive member's name; empty where the file has but one table."""

    @property
    def aside(self) -> RowsAside:
        """The rows that are not given out."""

    def __iter__(self) -> Iterator[tuple[int, Sequence[Any]]]:
        """(line, cells) of every row that the file has, blank ones of a workbook aside. Lines
        count from 1, as a person sees them."""

    def rows_said(self) -> int:
        """How many rows the file's own format has, counted apart from the iteration. To be asked
        when it has ended."""

    def share(self) -> float:
        """How much of the file is read, from 0 to 1."""
