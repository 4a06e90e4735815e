"""What a platform's file adds to the comparison. Pure functions.

`rounding`: a subsidy that somebody else computed, and that differs by the profile's tolerance.
`refunded`: a row of money that came back, of a sale that the ledger has as refunded as well.
`unsubsidised`: a row without subsidy whose order the ledger does not know. A shop's bill has all
its sales.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from itertools import chain

from service.finance.files.profiles import PROFILES
from service.finance.files.profiles.profile import ProfileName, ProfileUse
from service.finance.reconcile.mapping import AmountIs, ColumnMapping, FileRow, RowState
from service.finance.reconcile.pairing import LedgerUnit, Pair, pair_off
from service.finance.reconcile.signs import RowsAre

RETURNED_STATES = frozenset({"refunded", "partly_refunded"})


def profile_mapping(
    name: ProfileName,
    keys: tuple[tuple[str, str], ...],
    amount: str | None,
    amount_is: AmountIs | None,
    state: str | None,
    states: dict[str, RowState],
    sheet: str | None,
    rows: RowsAre = "sales",
) -> ColumnMapping:
    """The profile's mapping, with what is named replaced."""
    profile = PROFILES[name]
    named_keys = tuple((key, profile.canonical(heading)) for key, heading in keys)
    return ColumnMapping(
        named_keys or (("order_no", profile.order_no),),
        profile.canonical(amount or profile.amount),
        amount_is=amount_is or profile.amount_is,
        state=state and profile.canonical(state),
        states=states,
        sheet=sheet,
        rows=rows,
        profile=name,
    )


def profile_use(mapping: ColumnMapping, until: date) -> ProfileUse | None:
    """How the file's layout is to be read; None without a profile."""
    if mapping.profile is None:
        return None
    return ProfileUse(mapping.profile, mapping.amount, until, mapping.sheet)


def pair_off_bill(units: list[LedgerUnit], rows: Iterable[FileRow]) -> Iterator[Pair]:
    """Pair the units and rows of one key as sales. The payments come first."""
    sorted_rows = iter(rows)
    first_refund: list[FileRow] = []
    for pair in pair_off(units, _payments(sorted_rows, first_refund)):
        if not units and pair.row is not None and pair.row.amount_fen == 0:
            yield Pair("unsubsidised", None, pair.row)
        else:
            yield pair
    yield from _refund_pairs(units, chain(first_refund, sorted_rows))


def _payments(rows: Iterator[FileRow], first_refund: list[FileRow]) -> Iterator[FileRow]:
    for row in rows:
        if row.is_refund:
            first_refund.append(row)
            return
        yield row


def rounded_off(pairs: Iterator[Pair], profile: ProfileName) -> Iterator[Pair]:
    """The pairs, with those as roundings that differ by no more than the profile's tolerance."""
    tolerance_fen = PROFILES[profile].tolerance_fen
    for pair in pairs:
        unit, row = pair.unit, pair.row
        if pair.finding == "amount_differs" and unit is not None and row is not None:
            near = abs(unit.amount_fen - row.amount_fen) <= tolerance_fen
            yield replace(pair, finding="rounding") if near else pair
        else:
            yield pair


def _refund_pairs(units: Sequence[LedgerUnit], refunds: Iterable[FileRow]) -> Iterator[Pair]:
    """A refund by the state of its sale. Its unit is in the pair of the payment already, or was
    booked earlier; so it is in none here."""
    returned_fen = sum(unit.amount_fen for unit in units if unit.state in RETURNED_STATES)
    for row in refunds:
        if row.amount_fen == 0:
            yield Pair("unsubsidised", None, row)
        elif not units:
            yield Pair("missing_here", None, row)
        elif not any(unit.state in RETURNED_STATES for unit in units):
            yield Pair("state_differs", None, row)
        else:
            returned_fen += row.amount_fen
            yield Pair("refunded" if returned_fen >= 0 else "amount_differs", None, row)
