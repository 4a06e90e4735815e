"""After the grant: holds that end in one way, refunds that give back once, invoices."""

import asyncio
from datetime import timedelta
from typing import Any, get_args

import httpx
import pytest

from service.api.wrong_state import Wish, wrong_state
from service.claims.claim import ClaimState
from service.claims.sweeper import Sweep
from tests.builders import item_json, resident_id, serial
from tests.conftest import House

pytestmark = pytest.mark.anyio


async def post(house: House, path: str, **options: Any) -> httpx.Response:
    async with house.client(options.pop("role", "pos")) as client:
        return await client.post(path, **options)


async def get(house: House, path: str, role: str = "pos", **params: Any) -> httpx.Response:
    async with house.client(role) as client:
        return await client.get(path, params=params)


async def refund(house: House, claim_id: str, key: str, *lines: int) -> httpx.Response:
    return await post(
        house,
        f"/v1/claims/{claim_id}/refunds",
        json={"lines": list(lines), "reason": "returned"},
        headers={"Idempotency-Key": key},
    )


async def hold(house: House, key: str = "h1", **overrides: Any) -> str:
    answer = await house.claim(key, hold=True, **overrides)
    assert answer.status_code == 201, answer.text
    assert answer.json()["state"] == "reserved"
    return str(answer.json()["claim_id"])


async def budget(house: House, pool: str = "appliances") -> dict[str, int]:
    answer = await get(house, f"/v1/budgets/{pool}", role="bureau")
    return dict(answer.json())


async def assert_books_tie(house: House) -> None:
    """Journal, holds and pools say the same, and the gate says it too."""
    await house.quiet()
    found = await house.sql("""
        SELECT pool, allocated_fen, confirmed_fen, reserved_fen,
            (SELECT coalesce(sum(amount_fen), 0) FROM journal AS j
             WHERE j.pool = p.pool AND kind <> 'allocation') AS booked,
            (SELECT coalesce(sum(l.subsidy_fen), 0) FROM claim_line AS l
             WHERE l.pool = p.pool AND l.state = 'reserved') AS held,
            (SELECT coalesce(sum(l.subsidy_fen), 0) FROM claim_line AS l
             WHERE l.pool = p.pool AND l.state = 'confirmed') AS granted
        FROM pool AS p""")
    for row in found:
        assert row["confirmed_fen"] == row["booked"] == row["granted"], row
        assert row["reserved_fen"] == row["held"], row
        left = row["allocated_fen"] - row["confirmed_fen"] - row["reserved_fen"]
        assert house.gate_left(row["pool"]) == left


def later(house: House, **step: float) -> None:
    """Move the business clock on."""
    ahead = house.service.clock.offset + timedelta(**step)
    object.__setattr__(house.service.clock, "offset", ahead)


async def test_a_hold_takes_the_money_and_confirming_books_it(house: House) -> None:
    before = await budget(house)
    claim_id = await hold(house)
    held = await budget(house)
    assert held["reserved_fen"] == 119_980
    await assert_books_tie(house)
    assert held["remaining_fen"] == before["remaining_fen"] - 119_980
    assert await house.sql("SELECT 1 FROM journal WHERE kind = 'grant'") == []
    answers = [await post(house, f"/v1/claims/{claim_id}/confirm") for _ in range(2)]
    assert [(one.status_code, one.json()["state"]) for one in answers] == [(200, "confirmed")] * 2
    assert {line["state"] for line in answers[0].json()["lines"]} == {"confirmed"}
    after = await budget(house)
    assert (after["reserved_fen"], after["confirmed_fen"]) == (0, 119_980)
    grants = await house.sql("SELECT amount_fen FROM journal WHERE kind = 'grant'")
    assert [row[0] for row in grants] == [119_980]


async def test_a_confirmed_hold_keeps_its_serial_and_its_quota(house: House) -> None:
    refrigerator = item_json(category="refrigerator")
    claim_id = await hold(house, items=[refrigerator])
    confirmed = await post(house, f"/v1/claims/{claim_id}/confirm")
    assert confirmed.status_code == 200
    again = await house.claim("h2", items=[refrigerator])
    codes = {reason["code"] for reason in again.json()["reasons"]}
    assert codes == {"serial_already_claimed", "quota_used"}
    assert len(await house.sql("SELECT FROM serial_claimed")) == 1
    assert [row[0] for row in await house.sql("SELECT used FROM quota_use")] == [1]


async def test_a_cancelled_hold_gives_back_money_serial_and_quota(house: House) -> None:
    claim_id = await hold(house, items=[item_json(category="refrigerator")])
    for _ in range(2):
        answer = await post(house, f"/v1/claims/{claim_id}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert (await budget(house))["reserved_fen"] == 0
    # A refrigerator is subsidised once a person: the quota is free again, and so is the serial.
    again = await house.claim("h2", items=[item_json(category="refrigerator")])
    assert again.status_code == 201
    await assert_books_tie(house)


async def test_confirm_and_cancel_do_not_undo_each_other(house: House) -> None:
    first, second = await hold(house), await hold(house, "h2", items=[item_json(serial_no="AC2")])
    await post(house, f"/v1/claims/{first}/confirm")
    await post(house, f"/v1/claims/{second}/cancel")
    for answer in (
        await post(house, f"/v1/claims/{first}/cancel"),
        await post(house, f"/v1/claims/{second}/confirm"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    await assert_books_tie(house)


async def test_a_hold_expires_and_the_cashier_is_told_to_claim_again(house: House) -> None:
    claim_id = await hold(house)
    later(house, minutes=14, seconds=59)
    assert (await house.service.claims.sweeper.run_once()).expired == 0
    later(house, seconds=2)
    late = await post(house, f"/v1/claims/{claim_id}/confirm", headers={"Accept-Language": "en"})
    assert (late.status_code, late.json()["code"]) == (409, "wrong_state")
    assert "claim again" in late.json()["detail"]
    await house.service.claims.sweeper.run_once()
    assert (await get(house, f"/v1/claims/{claim_id}")).json()["state"] == "expired"
    assert (await budget(house))["reserved_fen"] == 0
    assert (await house.claim("h2")).status_code == 201
    await assert_books_tie(house)


async def test_many_sweepers_expire_each_hold_once(house: House) -> None:
    for n in range(25):
        person = {"id_type": "resident_id", "id_number": resident_id(n)}
        await hold(house, f"h{n}", consumer=person, items=[item_json(serial_no=serial(n))])
    later(house, hours=1)
    other = (await house.open_worker()).state.service
    object.__setattr__(other.clock, "offset", house.service.clock.offset)
    sweeps = [service.claims.sweeper.run_once() for service in (house.service, other) * 4]
    found = await asyncio.gather(*sweeps, return_exceptions=True)
    done = [sweep for sweep in found if isinstance(sweep, Sweep)]  # a busy ledger stops a pass
    done.append(await house.service.claims.sweeper.run_once())
    rows = await house.sql("SELECT count(*) FROM claim WHERE state = 'expired'")
    assert rows[0][0] == 25
    assert sum(sweep.expired for sweep in done) <= 25
    await assert_books_tie(house)


async def race(house: House, turn: int) -> set[str]:
    """Confirm some holds while they expire; returns the states in which they ended."""
    ids = []
    for n in range(10 * turn, 10 * turn + 10):
        person = {"id_type": "resident_id", "id_number": resident_id(n)}
        ids.append(
            await hold(house, f"h{n}", consumer=person, items=[item_json(serial_no=serial(n))])
        )
    now, ledger = house.service.clock.now(), house.service.claims.ledger

    async def expire() -> None:
        await ledger.finish([], now + timedelta(hours=1), due_max=2)

    confirms = [post(house, f"/v1/claims/{claim_id}/confirm") for claim_id in ids]
    expiries = [expire() for _ in range(4)]
    if turn % 2:  # each side has the head start in turn
        *_, answers = await asyncio.gather(*expiries, asyncio.gather(*confirms))
    else:
        answers, *_ = await asyncio.gather(asyncio.gather(*confirms), *expiries)
    ended = set()
    for claim_id, answer in zip(ids, answers, strict=True):
        state = (await get(house, f"/v1/claims/{claim_id}")).json()["state"]
        assert state == ("confirmed" if answer.status_code == 200 else "expired")
        ended.add(state)
    return ended


async def test_confirm_racing_expiry_ends_in_one_of_them(house: House) -> None:
    """The till's clock says in time, the sweeper's says too late."""
    ended: set[str] = set()
    for turn in range(10):  # one alone may be won by one side
        ended |= await race(house, turn)
    assert ended == {"confirmed", "expired"}
    await house.service.claims.sweeper.run_once()  # the ledger was asked past the gate
    await assert_books_tie(house)


# --- refunds ----------------------------------------------------------------------------


async def test_a_line_is_refunded_once_and_gives_everything_back(house: House) -> None:
    items = [
        item_json(line_no=1, category="refrigerator", serial_no="R1"),
        item_json(line_no=2, serial_no="A1"),
    ]
    claim_id = (await house.claim("k1", items=items)).json()["claim_id"]
    first = await refund(house, claim_id, "r1", 1)
    assert first.status_code == 201
    assert first.json()["subsidy_fen"] == 119_980
    again = await refund(house, claim_id, "r1", 1)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other_key = await refund(house, claim_id, "r2", 1, 2)
    assert (other_key.status_code, other_key.json()["code"]) == (409, "wrong_state")
    lines = (await get(house, f"/v1/claims/{claim_id}")).json()["lines"]
    assert [line["state"] for line in lines] == ["refunded", "confirmed"]
    assert (await house.claim("k2", items=items[:1])).status_code == 201
    entries = await house.sql(
        "SELECT amount_fen, policy FROM journal WHERE kind = 'refund' AND claim_id = $1", claim_id
    )
    assert [tuple(row) for row in entries] == [(-119_980, "nanhu-2025")]
    await assert_books_tie(house)


async def test_a_refund_key_with_another_body_is_refused(house: House) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    await refund(house, claim_id, "r1", 1)
    answer = await refund(house, claim_id, "r1", 2)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"lines": [], "reason": "returned"}, 422),
        ({"lines": [1, 1], "reason": "returned"}, 422),
        ({"lines": [7], "reason": "returned"}, 422),
        ({"lines": ["1"], "reason": "returned"}, 422),
        ({"lines": [10**18], "reason": "returned"}, 422),
        ({"lines": [1]}, 422),
        ({"lines": [1], "reason": "a\u0000b"}, 422),
        ({"lines": [1], "reason": "returned", "amount_fen": 1}, 422),
        ([1], 422),
    ],
)
async def test_a_refund_that_cannot_be_is_told_what_to_fix(
    house: House, body: Any, status: int
) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    answer = await post(
        house, f"/v1/claims/{claim_id}/refunds", json=body, headers={"Idempotency-Key": "r1"}
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == "invalid_field"
    assert await house.sql("SELECT 1 FROM refund") == []


async def test_a_sale_of_2025_is_refunded_in_2026_under_its_own_policy(house: House) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    later(house, days=240)
    assert (await refund(house, claim_id, "r1", 1)).status_code == 201
    entry = (await house.sql("SELECT booked_on, policy FROM journal WHERE kind = 'refund'"))[0]
    assert (entry["booked_on"].year, entry["policy"]) == (2026, "nanhu-2025")
    used = await house.sql("SELECT used, period FROM quota_use")
    assert [tuple(row) for row in used] == [(0, "2025")]


async def test_a_refund_needs_no_open_budget_and_no_open_store(house: House) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    await house.set_budget("appliances", 119_980)
    await house.sql("UPDATE store SET state = 'suspended'")
    await house.sql("UPDATE retailer SET state = 'suspended'")
    assert (await refund(house, claim_id, "r1", 1)).status_code == 201


async def test_a_quota_stays_used_where_the_policy_says_so(house: House) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    await house.sql(
        "UPDATE claim_line SET quotas = jsonb_set(quotas, '{0,restored}', 'false'::jsonb)"
    )
    await refund(house, claim_id, "r1", 1)
    assert [row[0] for row in await house.sql("SELECT used FROM quota_use")] == [1]


async def test_one_refund_comes_of_a_hundred_requests(house: House) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    same = await asyncio.gather(*(refund(house, claim_id, "r1", 1) for _ in range(50)))
    assert {one.status_code for one in same} == {201}
    assert len({one.json()["refund_id"] for one in same}) == 1
    others = await asyncio.gather(*(refund(house, claim_id, f"r{n}", 1) for n in range(2, 52)))
    assert {one.status_code for one in others} == {409}
    await assert_books_tie(house)


async def test_claims_and_refunds_racing_leave_the_pool_exact(house: House) -> None:
    people = [{"id_type": "resident_id", "id_number": resident_id(n)} for n in range(300)]

    async def buy(n: int) -> httpx.Response:
        return await house.claim(
            f"k{n}", consumer=people[n], items=[item_json(serial_no=serial(n))]
        )

    async def give_back(claim_id: str) -> httpx.Response:
        # As a till does: after a 503, which a busy machine may give, again with the same key.
        while (answer := await refund(house, claim_id, f"r-{claim_id}", 1)).status_code == 503:
            await asyncio.sleep(0.05)
        return answer

    first = await asyncio.gather(*(buy(n) for n in range(150)))
    granted = [one.json()["claim_id"] for one in first]
    answers = await asyncio.gather(
        *(buy(n) for n in range(150, 300)),
        *map(give_back, granted),
    )
    assert {one.status_code for one in answers} == {201}
    assert (await budget(house))["confirmed_fen"] == 150 * 119_980
    await assert_books_tie(house)


# --- invoices ---------------------------------------------------------------------------


def invoice_json(**overrides: Any) -> dict[str, Any]:
    return {
        "number": "25332000000012345678",
        "date": "2025-06-18",
        "buyer": "王小明",
        "total_fen": 599_900,
        **overrides,
    }


async def put_invoice(house: House, claim_id: str, **overrides: Any) -> httpx.Response:
    async with house.client() as client:
        return await client.put(f"/v1/claims/{claim_id}/invoice", json=invoice_json(**overrides))


async def test_an_invoice_is_kept_and_may_be_corrected(house: House) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    answer = await put_invoice(house, claim_id)
    assert (answer.status_code, answer.json()["number"]) == (200, "25332000000012345678")
    corrected = await put_invoice(house, claim_id, number="00000002", code="0330010001")
    assert corrected.status_code == 200
    rows = await house.sql("SELECT number, code, buyer, total_fen FROM invoice")
    assert [tuple(row) for row in rows] == [("00000002", "0330010001", "王小明", 599_900)]


async def test_an_invoice_that_was_kept_may_be_sent_again_after_a_refund(house: House) -> None:
    items = [item_json(line_no=n, serial_no=serial(n)) for n in (1, 2)]
    claim_id = (await house.claim("k1", items=items)).json()["claim_id"]
    whole = 2 * 599_900
    assert (await put_invoice(house, claim_id, total_fen=whole)).status_code == 200
    for line in (1, 2):
        await refund(house, claim_id, f"r{line}", line)
        assert (await put_invoice(house, claim_id, total_fen=whole)).status_code == 200


async def test_an_invoice_that_does_not_add_up_is_told_both_sums(house: House) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    answer = await put_invoice(house, claim_id, total_fen=479_920)
    assert (answer.status_code, answer.json()["code"]) == (422, "invoice_total_differs")
    assert "4,799.20" in answer.json()["detail"]
    assert "5,999.00" in answer.json()["detail"]
    assert await house.sql("SELECT 1 FROM invoice") == []


async def test_one_invoice_number_serves_one_claim(house: House) -> None:
    claims = [
        (await house.claim(f"k{n}", items=[item_json(serial_no=serial(n))])).json()["claim_id"]
        for n in range(2)
    ]
    await put_invoice(house, claims[0])
    answer = await put_invoice(house, claims[1])
    assert (answer.status_code, answer.json()["code"]) == (409, "invoice_taken")


@pytest.mark.parametrize(
    "wrong",
    [
        {"date": "2025-06-19"},
        {"date": "1999-01-01"},
        {"date": "20250618"},
        {"date": "1750204800"},
        {"number": ""},
        {"number": "12\u000034"},
        {"total_fen": 0},
        {"total_fen": 599_900.0},
        {"buyer": ""},
        {"seller": "x"},
    ],
)
async def test_a_bad_invoice_is_refused(house: House, wrong: dict[str, Any]) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    answer = await put_invoice(house, claim_id, **wrong)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


async def test_another_retailer_can_do_nothing_with_a_claim(house: House) -> None:
    claim_id = await hold(house)
    for call in ("confirm", "cancel"):
        answer = await post(house, f"/v1/claims/{claim_id}/{call}", role="other")
        assert answer.status_code == 404
    answer = await post(
        house,
        f"/v1/claims/{claim_id}/refunds",
        role="other",
        json={"lines": [1], "reason": "x"},
        headers={"Idempotency-Key": "r"},
    )
    assert answer.status_code == 404
    assert (await get(house, f"/v1/claims/{claim_id}")).json()["state"] == "reserved"


async def test_a_claim_that_was_no_hold_is_confirmed_already(house: House) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    answer = await post(house, f"/v1/claims/{claim_id}/confirm")
    assert (answer.status_code, answer.json()["state"]) == (200, "confirmed")


@pytest.mark.parametrize("wish", get_args(Wish))
@pytest.mark.parametrize("state", get_args(ClaimState))
def test_every_wish_that_a_state_does_not_allow_has_a_sentence(
    wish: Wish, state: ClaimState
) -> None:
    fulfilled = {("confirm", "confirmed"), ("cancel", "cancelled")}
    if (wish, state) not in fulfilled:
        assert wrong_state(wish, state, "zh", (1,)) != wrong_state(wish, state, "en", (1,))
