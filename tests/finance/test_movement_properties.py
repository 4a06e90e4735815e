"""Payments and refunds against a generated truth: each row and each unit is accounted for once."""

import asyncio
import io
from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.finance.files.faults import BadFile
from service.finance.reconcile.ledger_units import ReconcileScope
from service.finance.reconcile.mapping import ColumnMapping, FileRow
from service.finance.reconcile.movements import pair_movements
from service.finance.reconcile.pairing import LedgerUnit, Pair
from service.finance.reconcile.run import ReconcileItem, ReconcileRun, ReconcileSummary
from tests.finance.books import PLACE, TODAY
from tests.finance.reconciling import StubLedger, movement_ties_of, no_progress

SCOPE = ReconcileScope(PLACE, TODAY, TODAY)
MAPPING = ColumnMapping(
    (("order_no", "order"),), "fen", "fen", state="state", states={"done": "confirmed"},
    rows="movements", refund="back",
)  # fmt: skip

AMOUNTS = st.lists(st.integers(1, 6), max_size=6)
ROW_AMOUNTS = st.lists(st.integers(0, 6), max_size=6)


def paired(units: list[int], rows: list[int]) -> list[Pair]:
    return list(
        pair_movements(
            [
                LedgerUnit(f"C{n}", None, fen, "confirmed", TODAY, True)
                for n, fen in enumerate(units)
            ],
            [FileRow(line, "K", fen, None) for line, fen in enumerate(rows)],
        )
    )


def lines_of(pairs: list[Pair], *findings: str) -> list[int]:
    return [pair.row.line for pair in pairs if pair.row and pair.finding in findings]


@given(AMOUNTS, ROW_AMOUNTS, st.sampled_from((1, -1)))
@settings(max_examples=1500, deadline=None)
def test_each_row_and_each_unit_is_in_one_pair(
    units: list[int], rows: list[int], sign: int
) -> None:
    pairs = paired([sign * fen for fen in units], [sign * fen for fen in rows])
    assert sorted(pair.row.line for pair in pairs if pair.row) == list(range(len(rows)))
    assert sorted(pair.unit.claim_id for pair in pairs if pair.unit) == [
        f"C{n}" for n in range(len(units))
    ]
    matched = [pair for pair in pairs if pair.finding == "matched"]
    here = sum(pair.unit.amount_fen for pair in matched if pair.unit)
    assert here == sum(pair.row.amount_fen for pair in matched if pair.row)
    together = [pair for pair in matched if pair.unit and pair.row]
    assert all(pair.unit.amount_fen == pair.row.amount_fen for pair in together)  # type: ignore[union-attr]
    assert len(together) == (Counter(units) & Counter(rows)).total()
    unmoved = lines_of(pairs, "unmoved")
    if units and sum(units) == sum(rows):
        assert len(matched) == len(pairs) - len(unmoved)
    assert {rows[line] for line in unmoved} <= {0}
    if unmoved:
        assert not [pair for pair in pairs if pair.finding == "missing_there"]
    for line in lines_of(pairs, "duplicate"):
        assert units and rows[line] in rows[:line] and sum(rows) > sum(units)
    if lines_of(pairs, "missing_here"):
        assert not [pair for pair in pairs if pair.finding in ("amount_differs", "missing_there")]
    assert not [line for line in lines_of(pairs, "matched", "missing_here") if not rows[line]]
    if units and sum(rows) == 2 * sum(units) and sorted(rows) == sorted(units * 2):
        assert len(lines_of(pairs, "duplicate")) == len(units)  # all of them charged twice


@given(st.lists(st.integers(1, 500), min_size=2, max_size=5), st.data())
@settings(max_examples=300, deadline=None)
def test_a_piece_that_is_charged_twice_is_the_duplicate(pieces: list[int], data: Any) -> None:
    """A claim whose pieces are a row each, and one of the rows again."""
    twice = data.draw(st.sampled_from(pieces))
    rows = data.draw(st.permutations([*pieces, twice]))
    pairs = paired([sum(pieces)], rows)
    (line,) = lines_of(pairs, "duplicate")
    assert rows[line] == twice and line == max(n for n, fen in enumerate(rows) if fen == twice)
    assert len(lines_of(pairs, "matched")) == len(pieces)


class World(NamedTuple):
    units: list[tuple[Any, ...]]
    rows: list[tuple[str, str, str, str]]
    unmoved: int
    expected: Counter[tuple[str, str, int]]  # finding, key, sign: rows, or units that lack one


def written(draw: st.DrawFn, fen: int) -> tuple[str, str, str]:
    """(fen, state, back) of a movement, in one of the ways in which files write it."""
    if fen > 0:
        return str(fen), draw(st.sampled_from(("done", "confirmed"))), draw(st.sampled_from("0 "))
    ways = [
        (str(fen), "done", ""),
        (str(fen), "refunded", "0"),
        (str(-fen), "refunded", ""),
        (str(-fen), "partly_refunded", ""),
        ("0", "done", str(-fen)),
        ("", "cancelled", str(fen)),
        (str(-fen), "refunded", str(-fen)),
    ]
    return draw(st.sampled_from(ways))


# Rows that moved nothing: (sign, finding) where the books have a movement that has no row.
IDLE = {
    ("9", "cancelled", ""): (1, "state_differs"),
    ("-9", "expired", "0"): (1, "state_differs"),
    ("0", "done", ""): (1, "amount_differs"),
    ("0", "refunded", ""): (-1, "amount_differs"),
}
OPS = ("keep", "keep", "split", "join", "drop", "twice", "amount")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    units: list[tuple[Any, ...]] = []
    moved: list[tuple[str, int]] = []
    expected: Counter[tuple[str, str, int]] = Counter()

    def book(key: str, fen: int) -> None:
        state = "confirmed" if fen > 0 else "refunded"
        units.append((key, str(UUID(int=len(units) + 1)), None, TODAY, fen, state, len(units)))

    for n in range(draw(st.integers(0, 8))):
        for sign in draw(st.sampled_from(((1,), (-1,), (1, -1)))):
            key, op = f"K{n}", draw(st.sampled_from(OPS))
            amounts = draw(st.lists(st.integers(100, 900), min_size=1, max_size=3, unique=True))
            amounts = [sign * fen for fen in amounts]
            for fen in amounts:
                book(key, fen)
            match op:
                case "split":  # no piece has another one's amount
                    pieces = [part for fen in amounts for part in (sign * 7, fen - sign * 7)]
                case "join":
                    pieces = [sum(amounts)]
                case "drop":
                    pieces = []
                case "twice":
                    pieces = [*amounts, amounts[0]]
                case "amount":
                    pieces = [amounts[0] + 5000 * sign, *amounts[1:]]
                case _:
                    pieces = amounts
            moved += [(key, fen) for fen in pieces]
            bad = {"twice": "duplicate", "amount": "amount_differs"}.get(op)
            expected["matched", key, sign] += len(pieces) - bool(bad)
            expected["missing_there", key, sign] += len(amounts) if op == "drop" else 0
            if bad:
                expected[bad, key, sign] += 1
    for n in range(draw(st.integers(0, 3))):
        sign, times = draw(st.sampled_from((1, -1))), draw(st.integers(1, 3))
        moved += [(f"X{n}", sign * 100)] * times
        expected["missing_here", f"X{n}", sign] += times
    rows = [(key, *written(draw, fen)) for key, fen in moved]
    idle = draw(
        st.lists(st.tuples(st.sampled_from(("K0", "K1", "Y")), st.sampled_from(list(IDLE))))
    )
    rows += [(key, *cells) for key, cells in idle]
    rows = draw(st.permutations(rows))
    unmoved = 0
    for key, *cells in rows:
        if tuple(cells) not in IDLE:
            continue
        sign, finding = IDLE[tuple(cells)]
        if expected["missing_there", key, sign]:  # the books have a movement, and the row has none
            expected["missing_there", key, sign] -= 1
            expected[finding, key, sign] += 1
        else:
            unmoved += 1
    return World(draw(st.permutations(units)), rows, unmoved, +expected)


def run(
    text: str, units: list[tuple[Any, ...]], mapping: ColumnMapping = MAPPING
) -> tuple[list[ReconcileItem], ReconcileSummary]:
    async def reconcile() -> tuple[list[ReconcileItem], ReconcileSummary]:
        reconciling = ReconcileRun(SCOPE, mapping, no_progress)
        try:
            await reconciling.stage_file(io.BytesIO(text.encode()))
            await reconciling.stage_books(StubLedger(units), 10**6)  # type: ignore[arg-type]
            items = [item async for item in reconciling.items(with_matched=True)]
            return items, reconciling.summary
        finally:
            reconciling.close()

    return asyncio.run(reconcile())


def sign_of(item: ReconcileItem) -> int:
    fen = item.there_fen if item.here_fen is None else item.here_fen
    return 1 if (fen or 0) > 0 else -1


@given(worlds())
@settings(max_examples=300, deadline=None)
def test_what_was_planted_among_movements_is_found_and_nothing_else(world: World) -> None:
    rows = "".join(",".join(row) + "\n" for row in world.rows)
    items, summary = run(f"order,fen,state,back\n{rows}", world.units)
    counted = [item for item in items if item.file_line or item.finding == "missing_there"]
    counted_items = Counter((item.finding, item.key, sign_of(item)) for item in counted)
    assert counted_items == world.expected
    assert len(items) - len(counted) == summary.joint_units
    assert summary.unmoved_rows == world.unmoved
    assert (summary.units, summary.rows) == (len(world.units), len(world.rows))
    assert summary.until_entry == max(0, len(world.units) - 1)
    movement_ties_of(summary)


@pytest.mark.parametrize("last", ["O9,0,done,", "O9,5,cancelled,", "O9,5,done,5", "O9,,done,5"])
def test_a_movement_is_never_skipped_at_the_end(last: str) -> None:
    mapping = replace(MAPPING, skip_end=1)
    with pytest.raises(BadFile, match="line 3"):
        run(f"order,fen,state,back\nO1,1,done,\n{last}\n", [], mapping)
    _, summary = run("order,fen,state,back\nO1,1,done,\n合计,5,done,5\n", [], mapping)
    assert summary.trailer_rows == 1


def test_a_short_row_with_a_refund_alone_is_no_remark() -> None:
    _, summary = run("order,fen,state,back,goods\n#1,,refunded,5\n#1,,refunded,\n", [])
    assert (summary.rows, summary.remarks, summary.there_fen) == (1, 1, -5)
