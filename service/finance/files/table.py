"""What every kind of file gives out."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

ROWS_MAX = 1_000_000


class Table(Protocol):
    """The rows of a file. Iterate once; raises BadFile meanwhile."""

    @property
    def sheet(self) -> str:
        """The sheet's or the archive member's name; empty where the file has but one table."""

    def __iter__(self) -> Iterator[tuple[int, Sequence[Any]]]:
        """(line, cells) of every row that the file has, blank ones of a workbook aside. Lines
        count from 1, as a person sees them."""

    def rows_said(self) -> int:
        """How many rows the file's own format has, counted apart from the iteration. To be asked
        when it has ended."""

    def share(self) -> float:
        """How much of the file is read, from 0 to 1."""
