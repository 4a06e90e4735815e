"""Reconciliation against a generated truth: it reports what was planted, and nothing else."""

import asyncio
import io
import random
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.finance.journal.selection import Selection
from service.finance.reconcile.ledger_units import ReconcileScope
from service.finance.reconcile.mapping import ColumnMapping
from service.finance.reconcile.run import ReconcileItem, ReconcileRun
from tests.conftest import House
from tests.finance.books import PLACE, TODAY
from tests.finance.reconciling import StubLedger, no_progress, ties_of

pytestmark = pytest.mark.anyio

BY_ORDER = ColumnMapping((("order_no", "order"),), "fen", "fen", state="state")
SCOPE = ReconcileScope(PLACE, TODAY, TODAY)
OPS = ("keep", "keep", "keep", "drop", "amount", "state", "twice", "both")
FINDS = {"amount": "amount_differs", "state": "state_differs", "both": "state_differs"}

FileRow = tuple[str, int, str]


async def run(
    mapping: ColumnMapping, rows: list[FileRow], units: Any, scope: ReconcileScope = SCOPE
) -> Any:
    """(items, summary)"""
    text = "order,fen,state\n" + "".join(f"{key},{fen},{state}\n" for key, fen, state in rows)
    file = io.BytesIO(text.encode())
    reconciling = ReconcileRun(scope, mapping, no_progress)
    try:
        await reconciling.stage_file(file)
        await units(reconciling)
        return [item async for item in reconciling.items(with_matched=True)], reconciling.summary
    finally:
        reconciling.close()


@st.composite
def worlds(
    draw: st.DrawFn,
) -> tuple[list[tuple[Any, ...]], list[FileRow], Counter[tuple[str, str]]]:
    """(units, rows, the expected number of each (finding, key))."""
    units: list[tuple[Any, ...]] = []
    rows: list[FileRow] = []
    expected: Counter[tuple[str, str]] = Counter()
    for n in range(draw(st.integers(0, 12))):
        key, fen = f"K{n}", draw(st.integers(1, 3)) * 100
        state = draw(st.sampled_from(["confirmed", "refunded"]))
        other = "refunded" if state == "confirmed" else "confirmed"
        same_key = draw(st.integers(1, 3))
        op = draw(st.sampled_from(OPS if same_key == 1 else ("keep", "drop", "twice")))
        for place in range(same_key):
            units.append((key, str(UUID(int=n * 9 + place + 1)), None, TODAY, fen, state))
        if op == "drop":
            expected["missing_there", key] += same_key
            continue
        more_fen = draw(st.integers(1, 99)) if op in ("amount", "both") else 0
        row = (key, fen + more_fen, other if op in ("state", "both") else state)
        rows += [row] * (same_key + (op == "twice"))
        expected[FINDS.get(op, "matched"), key] += same_key
        expected["duplicate", key] += op == "twice"
    for n in range(draw(st.integers(0, 3))):
        times = draw(st.integers(1, 3))
        rows += [(f"X{n}", 100, "confirmed")] * times
        expected["missing_here", f"X{n}"] += 1
        expected["duplicate", f"X{n}"] += times - 1
    for n in range(draw(st.integers(0, 3))):  # claims that took no money, and are in no file
        units.append((f"U{n}", str(UUID(int=1000 + n)), None, None, 0, "cancelled"))
    return draw(st.permutations(units)), draw(st.permutations(rows)), +expected


@given(worlds())
@settings(max_examples=150, deadline=None)
def test_what_was_planted_is_found_and_nothing_else(world: Any) -> None:
    units, rows, planted = world

    async def stage(reconciling: ReconcileRun) -> None:
        await reconciling.stage_books(StubLedger(units), 1)  # type: ignore[arg-type]

    items, summary = asyncio.run(run(BY_ORDER, rows, stage))
    assert Counter((item.finding, item.key) for item in items) == planted
    counted = {name: part.count for name, part in summary.findings.items() if part.count}
    assert counted == dict(Counter(item.finding for item in items))
    ties_of(summary)


CLAIM = """
    INSERT INTO claim (claim_id, jurisdiction, retailer_id, store_id, idempotency_key, order_no,
        policy, state, sold_at, created_at, id_type, consumer_digest, consumer_last4, price_fen,
        subsidy_fen)
    VALUES ($1, '330402', $2, 'S', $3, $3, 'nanhu-2025', $4, $5, $5, 'passport', '', '', 100000, 1)
"""
LINE = """
    INSERT INTO claim_line (claim_id, line_no, category, scheme, pool, state, price_fen, cap_fen,
        subsidy_fen, serial_no, quotas)
    VALUES ($1, $2, 'phone', 'digital', 'digital', 'confirmed', 100000, 100000, $3, $4, '{}')
"""
ENTRY = """
    INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen, retailer_id,
        store_id, claim_id, line_no, category, policy)
    VALUES ('330402', $1, $2, now(), 'digital', $3, $4, 'S', $5, $6, 'phone', 'nanhu-2025')
"""


async def books(house: House, dice: random.Random) -> list[dict[str, Any]]:
    """120 claims of two retailers over ten days, some refunded, some never confirmed."""
    claims = []
    async with house.service.reports.connection() as connection:
        for n in range(120):
            claim = {
                "claim_id": UUID(int=dice.getrandbits(120)),
                "retailer": dice.choice(["sandbox", "sandbox", "other"]),
                "order": f"O{n}",
                "day": TODAY + timedelta(days=dice.randint(-5, 5)),
                "state": dice.choice(["confirmed"] * 6 + ["cancelled", "reserved", "expired"]),
                "lines": {},
            }
            at = f"{claim['day']}T12:00:00+08:00"
            await connection.execute(
                CLAIM, claim["claim_id"], claim["retailer"], claim["order"], claim["state"],
                datetime.fromisoformat(at),
            )  # fmt: skip
            for line_no in range(1, dice.randint(1, 3) + 1):
                fen = dice.randint(1, 90_000)
                await connection.execute(LINE, claim["claim_id"], line_no, fen, f"SN{n}-{line_no}")
                if claim["state"] != "confirmed":
                    continue
                back = dice.random() < 0.2
                claim["lines"][line_no] = (fen, back)
                tail = claim["retailer"], claim["claim_id"], line_no
                await connection.execute(ENTRY, "grant", claim["day"], fen, *tail)
                if back:
                    later = claim["day"] + timedelta(days=dice.randint(0, 30))
                    await connection.execute(ENTRY, "refund", later, -fen, *tail)
            claims.append(claim)
    return claims


def state_of(backs: list[bool]) -> str:
    return "refunded" if all(backs) else "partly_refunded" if any(backs) else "confirmed"


def expected_rows(
    claims: list[dict[str, Any]], by_line: bool, net: bool
) -> list[tuple[str, int, str, date]]:
    """(key, fen, state, booked on) as a file without fault has them."""
    rows = []
    for claim in claims:
        lines = claim["lines"]
        units = [[n] for n in lines] if by_line else [list(lines)] if lines else []
        for unit in units:
            fen = sum(lines[n][0] * (not (net and lines[n][1])) for n in unit)
            key = f"SN{claim['order'][1:]}-{unit[0]}" if by_line else claim["order"]
            rows.append((key, fen, state_of([lines[n][1] for n in unit]), claim["day"]))
    return rows


@pytest.mark.parametrize("seed", range(2))
async def test_the_books_units_are_the_truth(house: House, seed: int) -> None:
    dice = random.Random(seed)
    claims = [claim for claim in await books(house, dice) if claim["retailer"] == "sandbox"]
    days = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
    scope = ReconcileScope(PLACE, *days, "sandbox")
    for by_line, net in ((False, False), (False, True), (True, False), (True, True)):
        key = ("serial_no" if by_line else "order_no", "order")
        mapping = ColumnMapping((key,), "fen", "fen", "net" if net else "granted", "state")
        truth = expected_rows(claims, by_line, net)
        await find_planted(house, dice, scope, mapping, truth)


async def find_planted(
    house: House, dice: random.Random, scope: ReconcileScope, mapping: ColumnMapping, truth: Any
) -> None:
    planted: set[tuple[str, str]] = set()
    rows: list[FileRow] = []
    for key, fen, state, day in truth:
        if not scope.from_on <= day <= scope.to_on:
            if dice.random() < 0.2 and abs((day - TODAY).days) <= 5:
                rows.append((key, fen, state))  # the file's day is not ours: no difference
            continue
        op = dice.choice(("keep", "keep", "keep", "drop", "amount", "state", "twice"))
        if op == "drop":
            planted.add(("missing_there", key))
        elif op == "twice":
            rows += [(key, fen, state)] * 2
            planted.add(("duplicate", key))
        else:
            file_state = state if op != "state" else "cancelled"
            rows.append((key, fen + (op == "amount"), file_state))
            if op in FINDS:
                planted.add((FINDS[op], key))
    rows.append(("NOWHERE", 1, "confirmed"))
    planted.add(("missing_here", "NOWHERE"))
    dice.shuffle(rows)

    async def stage(reconciling: ReconcileRun) -> None:
        period = Selection(PLACE, scope.from_on, scope.to_on)
        async with house.service.finance.books.snapshot(period) as (reading, selection):
            await reconciling.stage_books(reading, selection.until or 0)

    items, summary = await run(mapping, rows, stage, scope)
    differences: list[ReconcileItem] = [item for item in items if item.finding != "matched"]
    assert {(item.finding, item.key) for item in differences} == planted
    assert len(differences) == len(planted)
    ties_of(summary)
    in_period = [fen for _, fen, _, day in truth if scope.from_on <= day <= scope.to_on]
    assert (summary.units, summary.here_fen) == (len(in_period), sum(in_period))
