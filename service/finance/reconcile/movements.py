"""Pairs payments with payments, and refunds with refunds. Pure functions.

A unit is what the journal booked for one claim (or one line of it) at one time. Rows and units of a
key are paired one to one where their amounts are equal. The rest is added up on both sides:

- The sums are equal: all of it matches. An order is often in several rows, one for each piece.
- Rows that repeat an amount make the difference exactly: they are duplicates, the rest matches.
- Otherwise it differs.

A row that moved nothing, by its state or amount, differs from a unit that is left without a row.
"""

from collections import defaultdict, deque
from collections.abc import Iterator

from service.finance.reconcile.mapping import FileRow
from service.finance.reconcile.pairing import LedgerUnit, Pair
from service.finance.reconcile.signs import UNPAID


def pair_movements(units: list[LedgerUnit], rows: list[FileRow]) -> Iterator[Pair]:
    """Pair the units and rows of one key that are all payments, or all refunds. Each row and each
    unit is in one pair. A matched pair that lacks one of them belongs to a sum."""
    unmoved = deque(row for row in rows if not row.amount_fen)
    for pair in _pair_moved(units, [row for row in rows if row.amount_fen]):
        if pair.finding == "missing_there" and unmoved:
            row = unmoved.popleft()
            differs = row.state in UNPAID
            yield Pair("state_differs" if differs else "amount_differs", pair.unit, row)
        else:
            yield pair
    for row in unmoved:
        yield Pair("unmoved", None, row)


def _pair_moved(units: list[LedgerUnit], rows: list[FileRow]) -> Iterator[Pair]:
    equal, units_left, rows_left = _equal_amounts(units, rows)
    yield from equal
    repeats = _repeats(rows) if units else set()
    duplicates = _surplus(units_left, rows_left, repeats)
    if duplicates is None:
        yield from _differing(units_left, rows_left, repeats)
        return
    for row in rows_left:
        yield Pair("duplicate" if row.line in duplicates else "matched", None, row)
    for unit in units_left:
        yield Pair("matched", unit, None)


def _equal_amounts(
    units: list[LedgerUnit], rows: list[FileRow]
) -> tuple[list[Pair], list[LedgerUnit], list[FileRow]]:
    """The pairs of equal amounts, the units that are left, and the rows that are left."""
    free: defaultdict[int, deque[LedgerUnit]] = defaultdict(deque)
    for unit in units:
        free[unit.amount_fen].append(unit)
    pairs, rows_left = [], []
    for row in rows:
        if of_amount := free.get(row.amount_fen):
            pairs.append(Pair("matched", of_amount.popleft(), row))
        else:
            rows_left.append(row)
    return pairs, [unit for of_amount in free.values() for unit in of_amount], rows_left


def _repeats(rows: list[FileRow]) -> set[int]:
    """The lines of the rows whose amount an earlier row has."""
    amounts: set[int] = set()
    lines: set[int] = set()
    for row in rows:
        if row.amount_fen in amounts:
            lines.add(row.line)
        amounts.add(row.amount_fen)
    return lines


def _surplus(units: list[LedgerUnit], rows: list[FileRow], repeats: set[int]) -> set[int] | None:
    """The lines of the repeats without which the sums are equal: the largest ones, and the last of
    equal ones. None: there are no such."""
    surplus_fen = _surplus_fen(units, rows)
    lines: set[int] = set()
    repeated = (row for row in rows if row.line in repeats)
    for row in sorted(repeated, key=lambda row: (abs(row.amount_fen), row.line), reverse=True):
        if abs(row.amount_fen) <= surplus_fen:
            surplus_fen -= abs(row.amount_fen)
            lines.add(row.line)
    return lines if surplus_fen == 0 else None


def _surplus_fen(units: list[LedgerUnit], rows: list[FileRow]) -> int:
    """How much more the rows have than the units, whatever the sign of both."""
    return abs(sum(row.amount_fen for row in rows)) - abs(sum(unit.amount_fen for unit in units))


def _differing(units: list[LedgerUnit], rows: list[FileRow], repeats: set[int]) -> Iterator[Pair]:
    """Pair in the order of the file, then what is left on either side."""
    is_more = _surplus_fen(units, rows) > 0
    for unit, row in zip(units, rows, strict=False):
        yield Pair("amount_differs", unit, row)
    for unit in units[len(rows) :]:
        yield Pair("missing_there", unit, None)
    for row in rows[len(units) :]:
        if is_more and row.line in repeats:
            yield Pair("duplicate", None, row)
        else:
            yield Pair("amount_differs" if units else "missing_here", None, row)
