"""Up to 500 claims in one request, each as if it were sent alone."""

import json
from typing import Any

import httpx
import pytest

from tests.builders import checkout_json, item_json, resident_id, serial
from tests.conftest import House

pytestmark = pytest.mark.anyio


async def send(house: House, claims: Any, role: str = "pos") -> httpx.Response:
    async with house.client(role) as client:
        return await client.post("/v1/claims/batch", json={"claims": claims})


def one(n: int, key: str | None = None, **overrides: Any) -> dict[str, Any]:
    checkout = checkout_json(
        consumer={"id_type": "resident_id", "id_number": resident_id(n)},
        items=[item_json(serial_no=serial(n))],
    )
    return {"idempotency_key": key or f"k{n}", "checkout": {**checkout, **overrides}}


async def test_results_stand_in_order_and_one_bad_claim_spoils_no_other(house: House) -> None:
    batch = [
        one(1),
        one(2, items=[]),
        one(3, key="x" * 256),
        one(4, store_id="OT0001"),
        "nonsense",
        one(5, items=[item_json(serial_no=serial(5), energy_grade="3")]),
        one(6, key="k1"),
        one(1),
        one(8, items=[item_json(serial_no=serial(1))]),
        {"idempotency_key": "k9"},
        one(10, surprise=1),
        one(11),
    ]
    answer = await send(house, batch)
    assert answer.status_code == 200
    results = answer.json()["results"]
    found = [
        (one["idempotency_key"], one["status"], one.get("problem", {}).get("code"))
        for one in results
    ]
    assert found == [
        ("k1", 201, None),
        ("k2", 422, "invalid_field"),
        ("x" * 256, 400, "invalid_idempotency_key"),
        ("k4", 403, "foreign_store"),
        (None, 422, "invalid_field"),
        ("k5", 409, "claim_refused"),
        ("k1", 422, "idempotency_key_reused"),
        ("k1", 201, None),
        ("k8", 409, "claim_refused"),
        ("k9", 422, "invalid_field"),
        ("k10", 422, "invalid_field"),
        ("k11", 201, None),
    ]
    assert results[7]["claim"] == results[0]["claim"]
    assert results[1]["problem"]["fields"][0]["field"] == "checkout.items"
    rows = await house.sql("SELECT idempotency_key FROM claim ORDER BY 1")
    assert [row[0] for row in rows] == ["k1", "k11"]


async def test_a_bad_item_of_a_batch_is_told_by_itself_alone(house: House) -> None:
    (result,) = (await send(house, [one(1, items=[item_json(price_fen="1")])])).json()["results"]
    fields = [field["field"] for field in result["problem"]["fields"]]
    assert fields == ["checkout.items.0.price_fen"]


async def test_a_car_of_a_batch_has_a_vin_with_a_good_check_digit(house: House) -> None:
    car = item_json(category="fuel_car", serial_no="LSGJA52U3BH123459", energy_grade=None)
    (result,) = (await send(house, [one(1, items=[car])])).json()["results"]
    (field,) = result["problem"]["fields"]
    assert (result["status"], field["field"]) == (422, "checkout.items.0.serial_no")


async def test_a_batch_says_what_the_claim_alone_would_have_been_told(house: House) -> None:
    (result,) = (await send(house, [one(1)])).json()["results"]
    alone = await house.claim(
        "k1",
        consumer={"id_type": "resident_id", "id_number": resident_id(1)},
        items=[item_json(serial_no=serial(1))],
    )
    assert (alone.status_code, alone.json()) == (result["status"], result["claim"])
    assert alone.headers["idempotency-replayed"] == "true"


async def test_five_hundred_are_taken_and_501_are_not(house: House) -> None:
    answer = await send(house, [one(n) for n in range(500)])
    assert {result["status"] for result in answer.json()["results"]} == {201}
    answer = await send(house, [one(n) for n in range(501)])
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


@pytest.mark.parametrize("claims", [[], None, {}, "x", 1])
async def test_a_batch_without_claims_is_refused(house: House, claims: Any) -> None:
    answer = await send(house, claims)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


async def test_what_is_no_json_is_refused_whole(house: House) -> None:
    async with house.client() as client:
        for body in (b"", b"{", b'{"claims": [', json.dumps({"claims": [one(1)]})[:-5].encode()):
            answer = await client.post("/v1/claims/batch", content=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert await house.sql("SELECT 1 FROM claim") == []


@pytest.mark.parametrize("bad", [{}, 1, {"checkout": {"items": [{}] * 15}}])
async def test_no_more_than_five_hundred_are_taken_however_bad(house: House, bad: Any) -> None:
    answer = await send(house, [bad] * 500)
    assert len(answer.json()["results"]) == 500
    answer = await send(house, [bad] * 501)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["fields"][0]["field"] == "claims"


async def test_a_claim_with_more_values_than_any_sale_has_is_not_looked_at(house: House) -> None:
    answer = await send(house, [one(1), {"checkout": {"items": [{}] * 1200}}])
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert await house.sql("SELECT 1 FROM claim") == []


@pytest.mark.parametrize("other", ["", ", {}"])
async def test_a_name_that_is_given_twice_is_refused_with_its_batch(
    house: House, other: str
) -> None:
    body = json.dumps(one(1)).replace('"price_fen": ', '"price_fen": 1, "price_fen": ')
    async with house.client() as client:
        answer = await client.post("/v1/claims/batch", content=f'{{"claims": [{body}{other}]}}')
    assert (answer.status_code, answer.json()["fields"][0]["field"]) == (422, "price_fen")
    assert await house.sql("SELECT 1 FROM claim") == []
