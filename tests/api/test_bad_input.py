"""Bad input gets its status and a sentence, never a 500, and leaves nothing behind."""

import json
from typing import Any
from uuid import UUID

import httpx
import pytest

from service.api.app import make_app
from service.core.checkout import Checkout
from tests.builders import checkout_json, item_json, old_car_json, resident_id, serial, vin
from tests.conftest import House

pytestmark = pytest.mark.anyio


def with_item(**overrides: Any) -> dict[str, Any]:
    return checkout_json(items=[item_json(**overrides)])


def with_consumer(**overrides: Any) -> dict[str, Any]:
    consumer = {"id_type": "resident_id", "id_number": resident_id(1), **overrides}
    return checkout_json(consumer=consumer)


def with_old_car(**overrides: Any) -> dict[str, Any]:
    return with_item(
        category="fuel_car", serial_no=vin(1), trade_in=old_car_json(**overrides), energy_grade=None
    )


CAR = {"category": "fuel_car", "serial_no": "LSGJA52U3BH123459"}

INVALID: dict[str, Any] = {
    "price as text": with_item(price_fen="100"),
    "price with decimals": with_item(price_fen=1.5),
    "whole price as float": with_item(price_fen=100.0),
    "price of zero": with_item(price_fen=0),
    "negative price": with_item(price_fen=-1),
    "price of 10^18": with_item(price_fen=10**18),
    "price of 10^400": with_item(price_fen=10**400),
    "price true": with_item(price_fen=True),
    "no items": checkout_json(items=[]),
    "21 items": checkout_json(
        items=[item_json(line_no=n, serial_no=serial(n)) for n in range(1, 22)]
    ),
    "same line twice": checkout_json(items=[item_json(), item_json(serial_no=serial(2))]),
    "unknown field": checkout_json(colour="red"),
    "unknown field in an item": with_item(colour="red"),
    "missing store": {k: v for k, v in checkout_json().items() if k != "store_id"},
    "NUL in a text": checkout_json(order_no="a\x00b"),
    "newline in a text": checkout_json(order_no="a\nb"),
    "NUL in a serial": with_item(serial_no="a\x00b"),
    "lone surrogate": checkout_json(order_no="a\ud800b"),
    "blank text": checkout_json(order_no=" \u3000 "),
    "text too long": checkout_json(order_no="x" * 121),
    "ID with a wrong check digit": with_consumer(id_number="330402196003071235"),
    "ID with an impossible birthday": with_consumer(id_number="330402196013071233"),
    "ID of 17 digits": with_consumer(id_number="33040219600307123"),
    "unknown kind of ID": with_consumer(id_type="driver"),
    "VIN with a wrong check digit": checkout_json(items=[item_json(**CAR)]),
    "GTIN with a wrong check digit": with_item(barcode="6901234567891"),
    "GTIN of Arabic digits": with_item(barcode="٦٩٠١٢٣٤٥٦٧٨٩٢"),
    "IMEI with a wrong check digit": with_item(category="phone", imei="860123040000010"),
    "sale without a zone": checkout_json(sold_at="2025-06-18T10:15:00"),
    "sale as a number": checkout_json(sold_at=1750000000),
    "sale as digits": checkout_json(sold_at="1750212000"),
    "owned since as digits": with_old_car(owned_since="1614556800"),
    "owned since as a number": with_old_car(owned_since=1614556800),
    "owned since a moment": with_old_car(owned_since="2021-03-01T00:00:00Z"),
    "owned since no day": with_old_car(owned_since="2021-02-30"),
    "sale in the year 9999": checkout_json(sold_at="9999-12-31T23:59:59-14:00"),
    "sale in the year 1": checkout_json(sold_at="0001-01-01T00:00:00+14:00"),
    "grade 6": with_item(energy_grade="6"),
    "grade as a number": with_item(energy_grade=1),
    "items as an object": checkout_json(items={"line_no": 1}),
    "body is a list": [],
    "body is null": None,
}
MALFORMED = {
    "empty": b"",
    "cut off": b'{"store_id": "NH0001"',
    "not UTF-8": b'{"store_id": "\xff"}',
    "NaN": b'{"store_id": NaN, }',
    "deep": b"[" * 100_000,
}
KEYS: dict[str, dict[str, bytes]] = {
    "no key": {},
    "empty key": {"Idempotency-Key": b""},
    "300 characters": {"Idempotency-Key": b"k" * 300},
    "a blank": {"Idempotency-Key": b"a b"},
    "a control character": {"Idempotency-Key": b"a\x01b"},
    "beyond ASCII": {"Idempotency-Key": "键".encode()},
}


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]


async def test_invalid_fields_are_named_and_nothing_is_kept(house: House) -> None:
    before = await house.footprint()
    async with house.client() as till:
        for name, body in INVALID.items():
            for path in ("/v1/claims", "/v1/quotes"):
                content = json.dumps(body)
                headers = {"Idempotency-Key": "k", "Accept-Language": "en"}
                answer = await till.post(path, content=content, headers=headers)
                if name == "lone surrogate":  # not Unicode, so not JSON
                    assert_problem(answer, 400, "malformed_request")
                    continue
                assert_problem(answer, 422, "invalid_field")
                assert answer.json()["fields"], name
                assert ("needs at least 1" in answer.text) == (name == "no items")
                assert "is not valid" not in answer.json()["detail"], (name, answer.text)
                assert resident_id(1) not in answer.text
    assert await house.footprint() == before


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_json_is_a_400(house: House, name: str) -> None:
    async with house.client() as till:
        answer = await till.post(
            "/v1/claims", content=MALFORMED[name], headers={"Idempotency-Key": "k"}
        )
    assert_problem(answer, 400, "malformed_request")


@pytest.mark.parametrize("blanks", ["", " ", "\n\t "])
@pytest.mark.parametrize("name", ["store_id", "price_fen", "id_number"])
async def test_a_name_that_is_given_twice_is_refused(house: House, name: str, blanks: str) -> None:
    """Else one of two prices would count, and nobody say which."""
    before = await house.footprint()
    once = json.dumps(checkout_json(order_no='a ":')).replace('": ', f'"{blanks}: ')
    at = once.index(f'"{name}"')
    headers = {"Idempotency-Key": "k", "Accept-Language": "en"}
    async with house.client() as till:
        for path in ("/v1/claims", "/v1/quotes"):
            twice = f'{once[:at]}"{name}"{blanks}: 1, {once[at:]}'
            answer = await till.post(path, content=twice, headers=headers)
            assert_problem(answer, 422, "invalid_field")
            assert answer.json()["fields"][0]["field"].endswith(name)
            assert await house.footprint() == before
        assert (await till.post("/v1/claims", content=once, headers=headers)).status_code == 201


@pytest.mark.parametrize("content", ["[]", "1", "{}", '{"a":1}', "[[[]]]"])
async def test_more_values_than_any_sale_has_are_not_looked_at(
    house: House, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To note what is wrong with each would keep all other tills waiting."""

    def looked_at(*_: Any) -> None:
        raise AssertionError

    many = '{"items":[' + ",".join([content] * 1200) + "]}"
    monkeypatch.setattr(Checkout, "model_validate_json", looked_at)
    async with house.client() as till:
        for path in ("/v1/claims", "/v1/quotes"):
            answer = await till.post(path, content=many, headers={"Idempotency-Key": "k"})
            assert_problem(answer, 413, "body_too_large")


async def test_a_long_name_is_not_sent_back_whole(house: House) -> None:
    answer = await house.claim("k", **{"x" * 100_000: 1})
    assert_problem(answer, 422, "invalid_field")
    assert len(answer.content) < 1000


async def test_a_choice_is_told_in_the_language_of_the_sentence(house: House) -> None:
    answer = await house.claim("k", consumer={"id_type": "driver", "id_number": "E1234567"})
    assert " or " not in answer.json()["detail"]
    assert "'taiwan_permit' 或 'passport'" in answer.json()["detail"]


@pytest.mark.parametrize("name", KEYS)
async def test_a_bad_idempotency_key_is_a_400(house: House, name: str) -> None:
    before = await house.footprint()
    async with house.client() as till:
        answer = await till.post("/v1/claims", json=checkout_json(), headers=KEYS[name])
    assert_problem(answer, 400, "invalid_idempotency_key")
    assert await house.footprint() == before


@pytest.mark.parametrize(
    ("name", "path", "status", "code"),
    [
        ("Idempotency-Key", "/v1/claims", 400, "invalid_idempotency_key"),
        ("Idempotency-Key", f"/v1/claims/{UUID(int=1)}/refunds", 400, "invalid_idempotency_key"),
        ("Authorization", "/v1/claims", 401, "unauthorized"),
        ("Authorization", "/v1/quotes", 401, "unauthorized"),
    ],
)
async def test_a_header_that_is_sent_twice_is_refused(
    house: House, name: str, path: str, status: int, code: str
) -> None:
    before = await house.footprint()
    async with house.client() as till:
        once = {"Idempotency-Key": "k", **till.headers}
        headers = [*once.items(), (name, "Bearer other" if name == "Authorization" else "other")]
        till.headers.clear()
        body = {"lines": [1], "reason": "x"} if path.endswith("refunds") else checkout_json()
        answer = await till.post(path, json=body, headers=headers)
    assert_problem(answer, status, code)
    assert await house.footprint() == before


async def test_a_body_over_the_limit_is_a_413_announced_or_not(house: House) -> None:
    async def in_pieces():  # type: ignore[no-untyped-def]
        for _ in range(300):
            yield b" " * 1024

    async with house.client() as till:
        for content in (b" " * 300_000, in_pieces()):
            answer = await till.post(
                "/v1/claims", content=content, headers={"Idempotency-Key": "k"}
            )
            assert_problem(answer, 413, "body_too_large")


async def test_stores_and_keys_that_do_not_fit_are_refused(house: House) -> None:
    before = await house.footprint()
    unknown = await house.claim("k", store_id="NOPE")
    assert_problem(unknown, 409, "claim_refused")
    assert unknown.json()["reasons"][0]["code"] == "store_not_enrolled"
    assert_problem(await house.claim("k", store_id="OT0001"), 403, "foreign_store")
    assert_problem(await house.claim("k", role="bureau"), 403, "missing_scope")
    house.keys["wrong"] = "butie_wrong"
    assert_problem(await house.claim("k", role="wrong"), 401, "unauthorized")
    assert await house.footprint() == before


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer \xff", "x" * 9])
async def test_a_strange_authorization_header_is_a_401(house: House, header: str) -> None:
    async with house.client() as till:
        answer = await till.get("/v1/claims/x", headers={"Authorization": header.encode("latin-1")})
    assert_problem(answer, 401, "unauthorized")


@pytest.mark.parametrize("name", ["%00", "%ff", "%ed%a0%80", "a" * 5000, "..%2f..", "%27--"])
async def test_a_strange_name_in_a_path_is_a_404(house: House, name: str) -> None:
    async with house.client("bureau") as bureau, house.client() as till:
        assert_problem(await bureau.get(f"/v1/budgets/{name}"), 404, "not_found")
        assert_problem(await till.get(f"/v1/claims/{name}"), 404, "not_found")


async def test_what_is_no_address_is_told_as_such(house: House) -> None:
    async with house.client() as till:
        for path in ("/", "/v1", "/v1/claim", "/v1/claims/", "/docs/", "//v1/claims"):
            answer = await till.get(path, headers={"Accept-Language": "en"})
            assert_problem(answer, 404, "not_found")
            assert "no such address" in answer.json()["detail"], path
        answer = await till.get("/v1/claims/x", headers={"Accept-Language": "en"})
        assert "no such record" in answer.json()["detail"]


async def test_a_filter_that_is_misspelt_or_repeated_lets_nothing_through(house: House) -> None:
    places = make_app(house.settings).openapi()["paths"]
    seen = 0
    for path, calls in places.items():
        names = [
            one["name"]
            for one in calls.get("get", {}).get("parameters", ())
            if one["in"] == "query"
        ]
        if not names or not path.startswith("/v1/"):
            continue
        seen += 1
        role = {"claims": "pos", "finance": "finance", "admin": "admin"}[calls["get"]["tags"][0]]
        days = "from=2025-06-18&to=2025-06-18" if "from" in names else ""
        async with house.client(role) as client:
            for query, fault in (
                ("retialer=r1", "不认识此字段"),
                (f"{names[-1]}=1&{names[-1]}=2", "只能给出一次"),
            ):
                answer = await client.get(f"{path}?{days}&{query}")
                assert_problem(answer, 422, "invalid_field")
                assert fault in answer.json()["detail"], (path, query)
    assert seen >= 8


async def test_a_list_of_claims_from_a_day_after_its_last_is_told_as_such(house: House) -> None:
    async with house.client() as till:
        answer = await till.get("/v1/claims?from=2025-06-19&to=2025-06-18")
        assert_problem(answer, 422, "invalid_field")
        assert "from 不得晚于 to" in answer.json()["detail"]
        assert (await till.get("/v1/claims?from=2025-06-18&to=2025-06-18")).status_code == 200


async def test_an_address_with_a_slash_too_many_is_a_404(house: House) -> None:
    """And no redirect, on which a client may lose its key or its body."""
    async with house.client() as till:
        headers = {"Idempotency-Key": "k"}
        answer = await till.post("/v1/claims/", json=checkout_json(), headers=headers)
        assert_problem(answer, 404, "not_found")
        assert_problem(await till.get("/v1/claims/"), 404, "not_found")


async def test_revoked_and_expired_keys_are_refused(house: House) -> None:
    for column in ("revoked_at", "expires_at"):
        await house.sql(f"UPDATE api_key SET {column} = '2025-01-01' WHERE label = 'other'")
        worker = await house.open_worker()
        refused = await house.claim("k", role="other", app=worker, store_id="OT0001")
        assert_problem(refused, 401, "unauthorized")
        await house.sql(f"UPDATE api_key SET {column} = NULL")


async def test_sentences_are_chinese_unless_english_is_preferred(house: House) -> None:
    async def detail(language: str) -> str:
        async with house.client() as till:
            headers = {"Idempotency-Key": "k", "Accept-Language": language}
            body = checkout_json(items=[item_json(energy_grade="3")])
            answer = await till.post("/v1/claims", json=body, headers=headers)
        return str(answer.json()["reasons"][0]["detail"])

    for english in ("en", "en-GB,en;q=0.9,zh;q=0.8", "fr, en;q=0.5"):
        assert (await detail(english)).isascii()
    for chinese in ("", "zh-CN", "zh,en;q=0.9", "fr", "en;q=x", "en;q=0.1, zh;q=0.9"):
        assert not (await detail(chinese)).isascii()
