"""Budgets change by paper, once; tranches open on their day, once."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from tests.builders import item_json, resident_id, serial
from tests.conftest import House

pytestmark = pytest.mark.anyio


async def call(
    house: House, method: str, path: str, json: Any = None, role: str = "admin", **headers: str
) -> httpx.Response:
    async with house.client(role) as client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.request(method, f"/v1/budgets{path}", json=json, headers=named)


async def adjust(house: House, key: str, delta_fen: Any, **overrides: Any) -> httpx.Response:
    body = {"delta_fen": delta_fen, "reason": "more money", "document_no": "南财〔2025〕9号"}
    return await call(house, "POST", "/ebike/adjustments", body | overrides, Idempotency_Key=key)


async def budget(house: House, pool: str = "ebike") -> dict[str, Any]:
    return dict((await call(house, "GET", f"/{pool}", role="bureau")).json())


async def test_a_budget_is_raised_once_for_a_key_and_booked(house: House) -> None:
    before = await budget(house)
    answers = await asyncio.gather(*(adjust(house, "a1", 500) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 7
    after = await budget(house)
    assert after["allocated_fen"] == before["allocated_fen"] + 500
    entries = await house.sql(
        "SELECT amount_fen, document_no, note FROM journal WHERE document_no LIKE '南财%'"
    )
    assert [tuple(row) for row in entries] == [(500, "南财〔2025〕9号", "more money")]
    acts = await house.sql("SELECT before, after FROM admin_act WHERE act = 'budget.adjust'")
    assert len(acts) == 1


async def test_one_key_for_two_budgets_at_once_changes_one(house: House) -> None:
    body = {"delta_fen": 7, "reason": "more money", "document_no": "D7"}
    answers = await asyncio.gather(
        *(
            call(house, "POST", f"/{pool}/adjustments", body, Idempotency_Key="a1")
            for pool in ("ebike", "home") * 3
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [422] * 3
    assert len(await house.sql("SELECT 1 FROM journal WHERE document_no = 'D7'")) == 1


async def test_a_budget_cannot_fall_below_what_is_spent(house: House) -> None:
    await house.claim("k1", hold=True)
    left = await house.sql("SELECT allocated_fen - spent_fen FROM pool WHERE pool = 'appliances'")
    body = {"delta_fen": -left[0][0] - 1, "reason": "less", "document_no": "d"}
    answer = await call(house, "POST", "/appliances/adjustments", body, Idempotency_Key="a1")
    assert (answer.status_code, answer.json()["code"]) == (409, "budget_below_spent")
    body["delta_fen"] += 1
    answer = await call(house, "POST", "/appliances/adjustments", body, Idempotency_Key="a1")
    assert answer.status_code == 201
    assert (await budget(house, "appliances"))["remaining_fen"] == 0


async def test_a_key_with_another_adjustment_is_refused(house: House) -> None:
    await adjust(house, "a1", 500)
    answer = await adjust(house, "a1", 501)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    "wrong",
    [
        {"delta_fen": 0},
        {"delta_fen": 1.5},
        {"delta_fen": "1"},
        {"delta_fen": 10**18},
        {"delta_fen": 10**14},
        {"document_no": ""},
        {"document_no": None},
        {"reason": "a\u0000"},
        {"surprise": 1},
    ],
)
async def test_a_bad_adjustment_is_refused_and_leaves_nothing(
    house: House, wrong: dict[str, Any]
) -> None:
    before = await budget(house)
    answer = await adjust(house, "a1", **({"delta_fen": 1} | wrong))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), answer.text
    assert await budget(house) == before
    assert await house.sql("SELECT 1 FROM adjustment") == []


async def test_an_unknown_pool_is_not_found(house: House) -> None:
    body = {"delta_fen": 1, "reason": "x", "document_no": "d"}
    for pool in ("nothing", "%00"):
        answer = await call(house, "POST", f"/{pool}/adjustments", body, Idempotency_Key="a1")
        assert answer.status_code == 404


# --- tranches ---------------------------------------------------------------------------


async def plan(house: House, opens_at: Any, amount_fen: Any = 1_000_000, **more: Any) -> Any:
    body = {"opens_at": opens_at, "amount_fen": amount_fen, "document_no": "南财〔2025〕10号"}
    return await call(house, "POST", "/appliances/tranches", body | more)


async def claim(house: House, n: int) -> httpx.Response:
    return await house.claim(
        f"k{n}",
        consumer={"id_type": "resident_id", "id_number": resident_id(n)},
        items=[item_json(serial_no=serial(n))],
        sold_at=(house.service.clock.now() - timedelta(minutes=1)).isoformat(),
    )


async def test_sold_out_for_today_says_when_the_next_part_opens(house: House) -> None:
    await house.set_budget("appliances", 119_980)
    assert (await claim(house, 1)).status_code == 201
    for_good = (await claim(house, 2)).json()["reasons"][0]
    assert "opens_at" not in for_good
    assert "用完" in for_good["detail"]
    await plan(house, "2025-07-01T00:00:00+08:00")
    await house.service.claims.sweeper.run_once()
    until = (await claim(house, 2)).json()["reasons"][0]
    assert until["code"] == "budget_exhausted"
    assert until["opens_at"] == "2025-07-01T00:00:00+08:00"
    assert "2025-07-01 00:00" in until["detail"]
    ahead = await budget(house, "appliances")
    assert (ahead["planned_fen"], ahead["next_opens_at"]) == (
        1_000_000,
        "2025-07-01T00:00:00+08:00",
    )


async def test_a_tranche_that_is_sent_again_is_planned_once(house: House) -> None:
    opens_at = (house.service.clock.now() + timedelta(hours=1)).isoformat()
    first, *others = await asyncio.gather(*(plan(house, opens_at) for _ in range(4)))
    assert {answer.json()["tranche_id"] for answer in others} == {first.json()["tranche_id"]}
    assert len(await house.sql("SELECT 1 FROM admin_act WHERE act = 'tranche.plan'")) == 1
    path = f"/appliances/tranches/{first.json()['tranche_id']}/withdraw"
    assert (await call(house, "POST", path)).status_code == 200
    again = await plan(house, opens_at)
    assert again.json()["tranche_id"] != first.json()["tranche_id"]


async def test_a_tranche_can_be_planned_while_its_budget_changes(
    house: House, database_url: str, hurried: None
) -> None:
    """At a busy hour somebody is always spending from it."""
    opens_at = (house.service.clock.now() + timedelta(days=1)).isoformat()
    till = await asyncpg.connect(database_url)
    async with till.transaction():
        await till.execute("UPDATE pool SET version = version + 1")
        assert (await plan(house, opens_at)).status_code == 201
    await till.close()


async def test_a_tranche_opens_once_however_many_workers_look(house: House) -> None:
    before = await budget(house, "appliances")
    at = house.service.clock.now() + timedelta(hours=1)
    planned = [(await plan(house, at.isoformat(), 1_000 + n)).json() for n in range(5)]
    workers = [house.service, (await house.open_worker()).state.service]
    await workers[0].claims.sweeper.run_once()
    assert (await budget(house, "appliances"))["allocated_fen"] == before["allocated_fen"]
    for worker in workers:
        object.__setattr__(worker.clock, "offset", worker.clock.offset + timedelta(hours=2))
    await asyncio.gather(*(worker.claims.sweeper.run_once() for worker in workers * 5))
    after = await budget(house, "appliances")
    assert after["allocated_fen"] == before["allocated_fen"] + sum(1_000 + n for n in range(5))
    entries = await house.sql("SELECT note FROM journal WHERE note LIKE 'tranche %'")
    assert sorted(row[0] for row in entries) == sorted(
        f"tranche {tranche['tranche_id']}" for tranche in planned
    )
    assert len(await house.sql("SELECT 1 FROM admin_act WHERE act = 'tranche.open'")) == 5


async def test_what_a_tranche_opens_can_be_claimed(house: House) -> None:
    await house.set_budget("appliances", 0)
    assert (await claim(house, 1)).status_code == 409
    await plan(house, house.service.clock.now().isoformat())
    await house.service.claims.sweeper.run_once()
    assert (await claim(house, 1)).status_code == 201


async def test_a_planned_tranche_can_be_withdrawn_and_an_opened_one_not(house: House) -> None:
    planned = (await plan(house, "2025-07-01T00:00:00+08:00")).json()
    path = f"/appliances/tranches/{planned['tranche_id']}/withdraw"
    for _ in range(2):
        answer = await call(house, "POST", path)
        assert (answer.status_code, answer.json()["state"]) == (200, "withdrawn")
    opened = (await plan(house, "2025-06-01T00:00:00+08:00")).json()
    await house.service.claims.sweeper.run_once()
    path = f"/appliances/tranches/{opened['tranche_id']}/withdraw"
    answer = await call(house, "POST", path)
    assert (answer.status_code, answer.json()["code"]) == (409, "tranche_ended")
    other = await call(house, "POST", path.replace("appliances", "cars"))
    assert other.status_code == 404
    shown = (await call(house, "GET", "/appliances/tranches")).json()["tranches"]
    assert [tranche["state"] for tranche in shown] == ["opened", "withdrawn"]


async def test_a_tranche_that_has_ended_is_not_planned_money(house: House) -> None:
    withdrawn = (await plan(house, "2025-07-01T00:00:00+08:00", 1_000)).json()
    await call(house, "POST", f"/appliances/tranches/{withdrawn['tranche_id']}/withdraw")
    await plan(house, "2025-06-01T00:00:00+08:00", 2_000)
    await house.service.claims.sweeper.run_once()
    await plan(house, "2025-08-01T00:00:00+08:00", 4_000)
    shown = await budget(house, "appliances")
    assert (shown["planned_fen"], shown["next_opens_at"]) == (4_000, "2025-08-01T00:00:00+08:00")
    assert (await budget(house, "cars"))["next_opens_at"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"opens_at": "2025-07-01"},
        {"opens_at": "2025-07-01T00:00:00"},
        {"opens_at": 1750212000},
        {"amount_fen": 0},
        {"amount_fen": -1},
        {"amount_fen": 10**18},
        {"document_no": ""},
    ],
)
async def test_a_bad_tranche_is_refused(house: House, wrong: dict[str, Any]) -> None:
    answer = await plan(house, **({"opens_at": "2025-07-01T00:00:00+08:00"} | wrong))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert await house.sql("SELECT 1 FROM tranche") == []
