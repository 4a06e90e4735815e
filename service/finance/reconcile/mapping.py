"""The meaning of a file's columns, and the reading of one row."""

import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from uuid import UUID

from service.finance.files.cells import fen_of, has_lost_digits, is_error, text_of
from service.finance.files.faults import BadFile
from service.finance.files.profiles.profile import KIND, MOVED, ProfileName, RowKind
from service.finance.reconcile.signs import PaymentAndRefund, RowsAre, signed_fen

RowState = Literal["confirmed", "refunded", "partly_refunded", "reserved", "cancelled", "expired"]
AmountUnit = Literal["yuan", "fen"]
AmountIs = Literal["granted", "net", "price"]
BadRowReason = Literal[
    "too_few_cells", "key_missing", "key_unreadable", "amount_unreadable", "state_unmapped",
    "formula_failed", "digits_lost", "amount_is_boolean", "payment_and_refund", "kind_unknown",
    "sign_contradicts", "too_many_cells", "dispute", "reference_unreadable", "reference_repeated",
]  # fmt: skip

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
# A key of an order, a claim or a serial number; words of a total, like 合计, are none.
SALE_KEY = re.compile(r"#?[\w./-]*\d[\w./-]*", re.ASCII)
# How many of the last rows before a heading are read again: a real file has some dozen there.
BEFORE_CHECKED = 1000
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


NumberedRow = tuple[int, Sequence[Any]]


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
    lines before the heading. `sheet`: the name of the workbook's sheet, if it has several.
    `skip_end`: rows of totals at the end. `rows`: whether a row is a sale, or a payment or refund.
    `refund`: with movements, the column of the refunds' amounts. `profile`: the platform whose file
    it is. Then `amount` is the platform's heading, and the table adds what has moved by it and
    whether it came back."""

    keys: tuple[tuple[str, str], ...]
    amount: str
    unit: AmountUnit = "yuan"
    amount_is: AmountIs = "granted"
    state: str | None = None
    states: dict[str, RowState] = field(default_factory=dict)
    skip: int = 0
    sheet: str | None = None
    skip_end: int = 0
    rows: RowsAre = "sales"
    refund: str | None = None
    profile: ProfileName | None = None

    @property
    def by_movement(self) -> bool:
        """Whether a row stands for a payment or a refund, not for a sale."""
        return self.rows == "movements"

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
        keys = (heading for _, heading in self.keys)
        return [*keys, self.amount, *filter(None, (self.state, self.refund))]


@dataclass(frozen=True, slots=True)
class FileRow:
    """A readable row of the file. `state` is None if the file has no state column. A movement's
    amount is negative for a refund, and 0 if the row moved no money. `is_refund`: the profile calls
    it money that came back, and its amount is negative."""

    line: int
    key: str
    amount_fen: int
    state: RowState | None
    is_refund: bool = False


@dataclass(frozen=True, slots=True)
class BadFileRow:
    """A row that cannot be read. Holds no value of it: it may be personal data."""

    line: int
    why: BadRowReason


class BadCell(Exception):
    """A cell that makes its row a bad one."""

    def __init__(self, why: BadRowReason) -> None:
        super().__init__(why)
        self.why = why


class RowReader:
    """Reads rows under the heading at `line`. Raises BadFile when mapped columns are missing in the
    heading, or occur in it more than once."""

    def __init__(self, mapping: ColumnMapping, line: int, heading: Sequence[Any]) -> None:
        names = [text_of(cell) for cell in heading]
        if missing := [name for name in mapping.headings if name not in names]:
            raise BadFile("missing_columns", columns=", ".join(missing), line=str(line))
        if repeated := [name for name in mapping.headings if names.count(name) > 1]:
            raise BadFile("repeated_columns", columns=", ".join(repeated), line=str(line))
        self._keys = [(name, names.index(heading)) for name, heading in mapping.keys]
        self._amount = names.index(MOVED if mapping.profile else mapping.amount)
        self._kind = names.index(KIND) if mapping.profile else None
        self._state = None if mapping.state is None else names.index(mapping.state)
        self._states: dict[str, RowState] = {
            **{state: state for state in ROW_STATES},
            **mapping.states,
        }
        self._refund = None if mapping.refund is None else names.index(mapping.refund)
        self._by_movement = mapping.by_movement
        self._in_yuan = mapping.unit == "yuan" and not mapping.profile
        places = (self._amount, self._state or 0, self._refund or 0)
        self._width = 1 + max(*(at for _, at in self._keys), *places)
        self._heading_width = len(names)

    def read(self, line: int, cells: Sequence[Any]) -> FileRow | BadFileRow | None:
        """The row. None: it is a remark."""
        first = cells[0]
        if isinstance(first, str) and "#" in first and self._is_remark(cells):
            return None
        if len(cells) < self._width:
            why: BadRowReason = "formula_failed" if any(map(is_error, cells)) else "too_few_cells"
            return BadFileRow(line, why)
        if len(cells) > self._heading_width and any(map(text_of, cells[self._heading_width :])):
            return BadFileRow(line, "too_many_cells")
        try:
            is_refund = self._kind is not None and _is_refund(cells[self._kind])
            key = self.key(cells)
            refund_fen = 0 if self._refund is None else self._refund_fen(cells[self._refund])
            # A refund with a column of its own may have no other amount.
            unpaid = refund_fen and not text_of(cells[self._amount])
            amount_fen = 0 if unpaid else self._amount_fen(cells[self._amount])
            if self._state is not None:
                state: RowState | None = self._row_state(cells[self._state])
            else:
                state = "refunded" if is_refund else None
            if self._by_movement:
                amount_fen = signed_fen(amount_fen, refund_fen, state)
        except BadCell as bad:
            return BadFileRow(line, bad.why)
        except PaymentAndRefund:
            return BadFileRow(line, "payment_and_refund")
        return FileRow(line, key, amount_fen, state, is_refund)

    def is_sale(self, line: int, cells: Sequence[Any]) -> bool:
        """Whether a row that is to be left out has the key of a sale and an amount."""
        row = self.read(line, cells)
        why = row.why if isinstance(row, BadFileRow) else None
        if isinstance(row, FileRow) or why == "payment_and_refund":
            return all(SALE_KEY.fullmatch(part) for part in self.key(cells).split(KEY_SEPARATOR))
        return why == "digits_lost"

    def key(self, cells: Sequence[Any]) -> str:
        """What the row is matched by. Raises BadCell."""
        return KEY_SEPARATOR.join([_key_part(name, cells[at]) for name, at in self._keys])

    def _is_remark(self, cells: Sequence[Any]) -> bool:
        """Whether a row that begins with # has nothing else, or is too short and has no amount."""
        if not begins_as_remark(cells):
            return False
        if not any(map(text_of, cells[1:])):
            return True
        if len(cells) >= self._heading_width:
            return False
        if len(cells) < self._width:
            return True
        amounts = (self._amount, self._refund)
        return not any(
            at is not None and fen_of(cells[at], in_yuan=self._in_yuan) is not None
            for at in amounts
        )

    def _amount_fen(self, cell: Any) -> int:
        if self._kind is not None and type(cell) is int:
            return cell  # a profile's table has read it
        amount_fen = fen_of(cell, in_yuan=self._in_yuan)
        if amount_fen is None:
            if isinstance(cell, bool):
                raise BadCell("amount_is_boolean")
            raise BadCell("formula_failed" if is_error(cell) else "amount_unreadable")
        return amount_fen

    def _refund_fen(self, cell: Any) -> int:
        """The refund column's amount; 0 where it is blank."""
        return self._amount_fen(cell) if text_of(cell) else 0

    def _row_state(self, cell: Any) -> RowState:
        state = self._states.get(text_of(cell))
        if state is None:
            raise BadCell("formula_failed" if is_error(cell) else "state_unmapped")
        return state


class HeldBack:
    """The rows without the last `count` of them. `held` has those in the end."""

    def __init__(self, rows: Iterator[NumberedRow], count: int) -> None:
        self._rows = rows
        self._count = count
        self.held: deque[NumberedRow] = deque()

    def __iter__(self) -> Iterator[NumberedRow]:
        if not self._count:
            yield from self._rows
        for row in self._rows:
            if len(self.held) == self._count:
                yield self.held.popleft()
            self.held.append(row)

    def check(self, reader: RowReader) -> None:
        """Check that no row held back is a sale. Raises BadFile."""
        for line, cells in self.held:
            if reader.is_sale(line, cells):
                raise BadFile("sale_in_trailer", line=str(line))


class FileHead(NamedTuple):
    """The reader for the rows under the heading, and the number of rows before the heading:
    skipped ones, and remarks."""

    reader: RowReader
    skipped: int
    remarks: int


def read_head(rows: Iterator[NumberedRow], mapping: ColumnMapping) -> FileHead:
    """Take the rows up to the heading. A sale before it is refused. Raises BadFile."""
    before: deque[NumberedRow] = deque(maxlen=BEFORE_CHECKED)
    skipped = remarks = 0
    for line, cells in rows:
        if line <= mapping.skip:
            skipped += 1
        elif begins_as_remark(cells) and not _has_all(cells, mapping.headings):
            remarks += 1
        else:
            reader = RowReader(mapping, line, cells)
            for number, row in before:
                if reader.is_sale(number, row):
                    raise BadFile("sale_in_head", line=str(number))
            return FileHead(reader, skipped, remarks)
        before.append((line, cells))
    raise BadFile("no_rows")


def begins_as_remark(cells: Sequence[Any]) -> bool:
    """Whether the row begins with #, and not with the word of a formula that failed."""
    return text_of(cells[0]).startswith("#") and not is_error(cells[0])


def _is_refund(kind: RowKind) -> bool:
    """Raises BadCell where a person must look."""
    if kind == "payment":
        return False
    if kind == "refund":
        return True
    raise BadCell(kind)


def _has_all(cells: Sequence[Any], headings: list[str]) -> bool:
    return set(headings) <= {text_of(cell) for cell in cells}


def _key_part(name: str, cell: Any) -> str:
    """The cell as the ledger writes it. Raises BadCell."""
    if is_error(cell):
        raise BadCell("formula_failed")
    if has_lost_digits(cell):
        raise BadCell("digits_lost")
    text = text_of(cell)
    if not text:
        raise BadCell("key_missing")
    if len(text) > KEY_LENGTH_MAX or UNPRINTABLE.search(text) or isinstance(cell, bool):
        raise BadCell("key_unreadable")
    try:
        if name == "claim_id":
            return str(UUID(text))
        if name == "line_no":
            return str(int(text))
    except ValueError:
        raise BadCell("key_unreadable") from None
    return folded(text.upper() if name == "serial_no" else text)


def folded(key: str) -> str:
    """The key with letters and digits of full width as plain ones."""
    return key if key.isascii() else unicodedata.normalize("NFKC", key)
