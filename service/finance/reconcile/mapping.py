"""The meaning of a file's columns, and the reading of one row."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from uuid import UUID

RowState = Literal["confirmed", "refunded", "partly_refunded", "reserved", "cancelled", "expired"]
AmountUnit = Literal["yuan", "fen"]
AmountIs = Literal["granted", "net"]
BadRowReason = Literal[
    "too_few_cells", "key_missing", "key_unreadable", "amount_unreadable", "state_unmapped"
]

ROW_STATES: tuple[RowState, ...] = (
    "confirmed", "refunded", "partly_refunded", "reserved", "cancelled", "expired",
)  # fmt: skip
# Columns to match by. With one of the last two, a row is a line of a claim, not a whole claim.
MATCH_KEYS = ("claim_id", "order_no", "invoice_no", "store_id", "line_no", "serial_no")
LINE_KEYS = frozenset({"line_no", "serial_no"})
# These identify nothing alone.
HALF_KEYS = frozenset({"store_id", "line_no"})
# The first stands between the columns of a key, the second before a key that no row can have. No
# cell contains them.
KEY_SEPARATOR, NO_KEY = "\x1f", "\x1e"
KEY_LENGTH_MAX = 255
# Ten billion yuan: above any real amount of a row, and exact everywhere.
AMOUNT_MAX_FEN = 10**12

# Signs before a text that keep a spreadsheet from computing or rounding it.
GUARDS = "'`\t "
AMOUNT = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?", re.ASCII)
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def states_of(text: str) -> dict[str, RowState]:
    """The state of each of the file's words, from "paid:confirmed,returned:refunded". Raises
    ValueError."""
    known: dict[str, RowState] = {state: state for state in ROW_STATES}
    states = {}
    for pair in filter(None, text.split(",")):
        word, _, state = pair.rpartition(":")
        if not word.strip() or state.strip() not in known:
            raise ValueError(f"must look like paid:confirmed,returned:refunded, with {ROW_STATES}")
        states[word.strip()] = known[state.strip()]
    return states


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """The meaning of the file's headings. `keys` are pairs (name from MATCH_KEYS, heading). `skip`:
    lines before the heading."""

    keys: tuple[tuple[str, str], ...]
    amount: str
    unit: AmountUnit = "yuan"
    amount_is: AmountIs = "granted"
    state: str | None = None
    states: dict[str, RowState] = field(default_factory=dict)
    skip: int = 0

    @property
    def by_line(self) -> bool:
        """Whether a row stands for a line, not for a whole claim."""
        return any(name in LINE_KEYS for name, _ in self.keys)

    @property
    def identifies(self) -> bool:
        """Whether the keys can identify a claim or a line."""
        return any(name not in HALF_KEYS for name, _ in self.keys)

    @property
    def headings(self) -> list[str]:
        return [*(heading for _, heading in self.keys), self.amount, *filter(None, [self.state])]


@dataclass(frozen=True, slots=True)
class FileRow:
    """A readable row of the file. `state` is None if the file has no state column."""

    line: int
    key: str
    amount_fen: int
    state: RowState | None


@dataclass(frozen=True, slots=True)
class BadFileRow:
    """A row that cannot be read. Holds no value of it: it may be personal data."""

    line: int
    why: BadRowReason


class BadHeading(Exception):
    """Mapped columns are missing in the heading, or occur in it more than once."""

    def __init__(
        self, fault: Literal["missing_columns", "repeated_columns"], columns: list[str]
    ) -> None:
        super().__init__(fault, columns)
        self.fault = fault
        self.columns = columns


class RowReader:
    """Reads rows under one heading. Raises BadHeading."""

    def __init__(self, mapping: ColumnMapping, heading: Sequence[Any]) -> None:
        names = [text_of(cell) for cell in heading]
        if missing := [name for name in mapping.headings if name not in names]:
            raise BadHeading("missing_columns", missing)
        if repeated := [name for name in mapping.headings if names.count(name) > 1]:
            raise BadHeading("repeated_columns", repeated)
        self._keys = [(name, names.index(heading)) for name, heading in mapping.keys]
        self._amount = names.index(mapping.amount)
        self._state = None if mapping.state is None else names.index(mapping.state)
        self._states: dict[str, RowState] = {
            **{state: state for state in ROW_STATES},
            **mapping.states,
        }
        self._in_yuan = mapping.unit == "yuan"
        self._width = 1 + max(*(at for _, at in self._keys), self._amount, self._state or 0)

    def read(self, line: int, cells: Sequence[Any]) -> FileRow | BadFileRow:
        if len(cells) < self._width:
            return BadFileRow(line, "too_few_cells")
        parts = [_key_part(name, text_of(cells[at])) for name, at in self._keys]
        if "" in parts:
            return BadFileRow(line, "key_missing")
        if None in parts:
            return BadFileRow(line, "key_unreadable")
        amount_fen = fen_of(cells[self._amount], in_yuan=self._in_yuan)
        if amount_fen is None:
            return BadFileRow(line, "amount_unreadable")
        state = None
        if self._state is not None:
            state = self._states.get(text_of(cells[self._state]))
            if state is None:
                return BadFileRow(line, "state_unmapped")
        return FileRow(line, KEY_SEPARATOR.join(filter(None, parts)), amount_fen, state)


def _key_part(name: str, text: str) -> str | None:
    """The cell as the ledger writes it. Empty: there is no value. None: the value is not valid."""
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
    """A cell as text, without the signs of GUARDS before it."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    return str(cell).lstrip(GUARDS).rstrip()


def fen_of(cell: Any, *, in_yuan: bool) -> int | None:
    """The exact amount in fen. None: no amount of whole fen, or more than AMOUNT_MAX_FEN."""
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
