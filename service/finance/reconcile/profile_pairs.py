"""What a platform's file adds to the comparison. Pure functions.

`rounding`: a subsidy that somebody else computed, and that differs by the profile's tolerance.
`refunded`: a row of money that came back, where the ledger has as much back of its sale.
`unsubsidised`: a row without subsidy whose order the ledger does not know, in a bill that has all
sales of a shop.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from itertools import accumulate, chain

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


def pair_off_bill(
    units: list[LedgerUnit], rows: Iterable[FileRow], profile: ProfileName
) -> Iterator[Pair]:
    """Pair the units and rows of one key as sales. The payments come first."""
    has_all_sales = PROFILES[profile].has_all_sales
    sorted_rows = iter(rows)
    first_refund: list[FileRow] = []
    for pair in pair_off(units, _payments(sorted_rows, first_refund)):
        unsubsidised = not units and pair.row is not None and pair.row.amount_fen == 0
        if unsubsidised and has_all_sales:
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
    """A refund by what came back of its sale. Its unit is in the pair of the payment already, or
    was booked earlier; so it is in none here."""
    returned = [unit for unit in units if unit.state in RETURNED_STATES]
    if returned:
        rows = list(refunds)
        agreeing = _agreeing(returned, rows)
        for at, row in enumerate(rows):
            yield Pair("refunded" if at < agreeing else "amount_differs", None, row)
        return
    for row in refunds:
        if units:
            yield Pair("state_differs", None, row)
        else:
            yield Pair("missing_here" if row.amount_fen else "unsubsidised", None, row)


def _agreeing(units: Sequence[LedgerUnit], rows: Sequence[FileRow]) -> int:
    """How many of the refunds, from the first on, add up to what came back of the units: to all of
    it, or to what was booked in the period. Where that is not known, they may be no more than the
    units' amounts."""
    sums = list(accumulate(-row.amount_fen for row in rows))
    if any(unit.returned_fen is None for unit in units):
        known = range(1, sum(unit.amount_fen for unit in units) + 1)
        return next((at for at in range(len(sums), 0, -1) if sums[at - 1] in known), 0)
    returned = {
        sum(unit.returned_fen or 0 for unit in units),
        sum(unit.returned_in_period_fen or 0 for unit in units),
    }
    return next(
        (at for at in range(len(sums), 0, -1) if sums[at - 1] and sums[at - 1] in returned), 0
    )
