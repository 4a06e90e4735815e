"""What a file's columns mean, and what one row of it says."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from uuid import UUID

State = Literal["confirmed", "refunded", "partly_refunded", "reserved", "cancelled", "expired"]
Unit = Literal["yuan", "fen"]
AmountIs = Literal["granted", "net"]
Why = Literal[
    "too_few_cells", "key_missing", "key_unreadable", "amount_unreadable", "state_unmapped"
]

STATES: tuple[State, ...] = (
    "confirmed", "refunded", "partly_refunded", "reserved", "cancelled", "expired",
)  # fmt: skip
# By what a row can be found here; a row with one of the last two is a line, not a whole claim.
KEYS = ("claim_id", "order_no", "invoice_no", "store_id", "line_no", "serial_no")
LINE_KEYS = frozenset({"line_no", "serial_no"})
# None of these names anything by itself.
HALF_KEYS = frozenset({"store_id", "line_no"})
# No cell has either: the one parts a key's parts, the other begins what nothing can be found by.
KEY_SEPARATOR, NO_KEY = "\x1f", "\x1e"
KEY_LENGTH_MAX = 255
# Ten billion yuan: above every sum of a row, and exact everywhere.
AMOUNT_MAX_FEN = 10**12

# A sign in front that keeps a spreadsheet from computing or rounding.
GUARDS = "'`\t "
AMOUNT = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?", re.ASCII)
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def states_of(text: str) -> dict[str, State]:
    """What a file's words mean: "paid:confirmed,returned:refunded". Raises ValueError."""
    known: dict[str, State] = {state: state for state in STATES}
    states = {}
    for one in filter(None, text.split(",")):
        word, _, state = one.rpartition(":")
        if not word.strip() or state.strip() not in known:
            raise ValueError(f"must look like paid:confirmed,returned:refunded, with {STATES}")
        states[word.strip()] = known[state.strip()]
    return states


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which heading of the file stands for what. `keys` are (name of ours, heading)."""

    keys: tuple[tuple[str, str], ...]
    amount: str
    unit: Unit = "yuan"
    amount_is: AmountIs = "granted"
    state: str | None = None
    states: dict[str, State] = field(default_factory=dict)
    skip: int = 0

    @property
    def by_line(self) -> bool:
        """Whether a row is a line of a claim."""
        return any(name in LINE_KEYS for name, _ in self.keys)

    @property
    def finds(self) -> bool:
        """Whether the keys name something."""
        return any(name not in HALF_KEYS for name, _ in self.keys)

    @property
    def headings(self) -> list[str]:
        return [*(heading for _, heading in self.keys), self.amount, *filter(None, [self.state])]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the file that can be compared. `state` None: the file says nothing of it."""

    line: int
    key: str
    amount_fen: int
    state: State | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot; never with its values."""

    line: int
    why: Why


class BadHeading(Exception):
    """The heading lacks columns that are mapped, or has them more than once."""

    def __init__(
        self, fault: Literal["missing_columns", "repeated_columns"], columns: list[str]
    ) -> None:
        super().__init__(fault, columns)
        self.fault = fault
        self.columns = columns


class Reader:
    """Reads cells by a heading. Raises BadHeading."""

    def __init__(self, mapping: Mapping, heading: Sequence[Any]) -> None:
        names = [text_of(cell) for cell in heading]
        if missing := [name for name in mapping.headings if name not in names]:
            raise BadHeading("missing_columns", missing)
        if repeated := [name for name in mapping.headings if names.count(name) > 1]:
            raise BadHeading("repeated_columns", repeated)
        self._keys = [(name, names.index(heading)) for name, heading in mapping.keys]
        self._amount = names.index(mapping.amount)
        self._state = None if mapping.state is None else names.index(mapping.state)
        self._states: dict[str, State] = {**{state: state for state in STATES}, **mapping.states}
        self._in_yuan = mapping.unit == "yuan"
        self._width = 1 + max(*(at for _, at in self._keys), self._amount, self._state or 0)

    def read(self, line: int, cells: Sequence[Any]) -> Row | BadRow:
        if len(cells) < self._width:
            return BadRow(line, "too_few_cells")
        parts = [_key_part(name, text_of(cells[at])) for name, at in self._keys]
        if "" in parts:
            return BadRow(line, "key_missing")
        if None in parts:
            return BadRow(line, "key_unreadable")
        amount_fen = fen_of(cells[self._amount], in_yuan=self._in_yuan)
        if amount_fen is None:
            return BadRow(line, "amount_unreadable")
        state = None
        if self._state is not None:
            state = self._states.get(text_of(cells[self._state]))
            if state is None:
                return BadRow(line, "state_unmapped")
        return Row(line, KEY_SEPARATOR.join(filter(None, parts)), amount_fen, state)


def _key_part(name: str, text: str) -> str | None:
    """As the books have it; empty if there is none, None if it can be none."""
    if len(text) > KEY_LENGTH_MAX or UNPRINTABLE.search(text):
        return None
    try:
        if name == "claim_id" and text:
            return str(UUID(text))
        if name == "line_no" and text:
            return str(int(text))
    except ValueError:
        return None
    return text.upper() if name == "serial_no" else text


def text_of(cell: Any) -> str:
    """A cell as text, without what keeps a spreadsheet from computing it."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    return str(cell).lstrip(GUARDS).rstrip()


def fen_of(cell: Any, *, in_yuan: bool) -> int | None:
    """The amount in fen, exactly; None if it is none."""
    text = repr(cell) if isinstance(cell, float) else text_of(cell).lstrip("¥￥ ")
    try:
        if isinstance(cell, float):
            value = round(Decimal(text), 6)  # a sheet's 119.80000000000001
        elif AMOUNT.fullmatch(text):
            value = Decimal(text.replace(",", ""))
        else:
            return None
    except InvalidOperation:
        return None
    fen = value * 100 if in_yuan else value
    if abs(fen) > AMOUNT_MAX_FEN or fen != fen.to_integral_value():
        return None
    return int(fen)
