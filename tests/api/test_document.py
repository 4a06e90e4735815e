"""The OpenAPI document: nothing in it dangles, and its examples are true."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.api.app import make_app
from service.api.examples import PROBLEMS, REQUESTS
from service.config import Settings
from tests.conftest import House
from tests.finance.books import INVOICE_ALL

DOCUMENT = make_app(Settings(database_url="postgresql://x/y", redis_url="redis://x")).openapi()
OPERATIONS = [
    (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_names_are_plain_and_each_is_given_once() -> None:
    assert [name for name in DOCUMENT["components"]["schemas"] if "__" in name] == []
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert [name for name in names if not name.isidentifier() or "v1" in name] == []


def test_routes_say_who_may_call_and_where_the_service_is() -> None:
    assert DOCUMENT["servers"] and DOCUMENT["info"]["license"]["identifier"] == "Apache-2.0"
    open_paths = {path for _, path, operation in OPERATIONS if operation["security"] == []}
    assert open_paths == {"/healthz", "/readyz", "/metrics"}


def test_every_error_is_a_problem_with_its_example() -> None:
    for _, path, operation in OPERATIONS:
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                (media_type,) = answer["content"]
                assert media_type == "application/problem+json", (path, status)
                examples = answer["content"][media_type]["examples"]
                assert {PROBLEMS[code]["value"]["status"] for code in examples} == {int(status)}


def test_every_request_has_an_example() -> None:
    bodies = [
        body
        for _, _, operation in OPERATIONS
        for media_type, body in operation.get("requestBody", {}).get("content", {}).items()
        if media_type == "application/json"
    ]
    assert len(bodies) > 15
    assert all(body["examples"] for body in bodies)
    shown = {body["schema"]["$ref"].rpartition("/")[2] for body in bodies}
    assert shown == REQUESTS.keys()


def example(model: str, name: str = "") -> Any:
    examples = REQUESTS[model]
    return json.loads(json.dumps(examples[name or next(iter(examples))]["value"]))


@pytest.mark.anyio
async def test_every_request_example_is_taken_as_the_document_says(house: House) -> None:
    sent: set[tuple[str, str]] = set()

    async def send(
        role: str, path: str, model: str, name: str = "", method: str = "POST", expect: int = 200
    ) -> Any:
        sent.add((model, name or next(iter(REQUESTS[model]))))
        async with house.client(role) as client:
            answer = await client.request(
                method, path, json=example(model, name), headers={"Idempotency-Key": path + name}
            )
        assert answer.status_code == expect, answer.text
        return answer.json()

    quote = await send("pos", "/v1/quotes", "Checkout", "claim")
    assert quote["eligible"]
    claim = await send("pos", "/v1/claims", "Checkout", "claim", expect=201)
    hold = await send("pos", "/v1/claims", "Checkout", "hold", expect=201)
    assert (claim["state"], hold["state"]) == ("confirmed", "reserved")
    batch = await send("pos", "/v1/claims/batch", "BatchBody")
    assert [result["status"] for result in batch["results"]] == [409, 409]  # claimed just now
    await send("pos", f"/v1/claims/{claim['claim_id']}/invoice", "InvoiceBody", method="PUT")
    await send("pos", f"/v1/claims/{claim['claim_id']}/refunds", "RefundRequest", expect=201)
    await send("admin", "/v1/budgets/ebike/adjustments", "AdjustmentBody", expect=201)
    await send("admin", "/v1/budgets/appliances/tranches", "TrancheBody", expect=201)
    await send("admin", "/v1/retailers", "RetailerBody", expect=201)
    await send("admin", "/v1/stores", "StoreBody", expect=201)
    await send("admin", "/v1/stores/S1/suspend", "ReasonBody")
    key = await send("admin", "/v1/keys", "KeyBody", expect=201)
    await send("admin", f"/v1/keys/{key['key_id']}/rotate", "RotateBody", expect=201)
    await house.sql(INVOICE_ALL)
    draft = await send("finance", "/v1/settlements", "SettlementBody", expect=201)
    settlement = f"/v1/settlements/{draft['settlement_id']}"
    await send("finance", f"{settlement}/void", "VoidBody")
    draft = await send("finance", "/v1/settlements", "SettlementBody", expect=201)
    settlement = f"/v1/settlements/{draft['settlement_id']}"
    await house.sql(
        "UPDATE settlement SET state = 'approved', approved_by = 'x', approved_at = now()"
    )
    await send("finance", f"{settlement}/pay", "PaymentBody")
    assert sent == {(model, name) for model, examples in REQUESTS.items() for name in examples}


@pytest.mark.anyio
async def test_problem_examples_say_what_the_service_says(house: House) -> None:
    """Each problem that a test can bring about with one request or two."""
    claim = (await house.claim("k1")).json()["claim_id"]
    path = f"/v1/claims/{claim}"
    invoice = example("InvoiceBody")
    sale = example("Checkout")
    no_grade = {**sale, "items": [{**sale["items"][0], "energy_grade": "3"}]}
    text = {**sale, "items": [{**sale["items"][0], "price_fen": "1"}]}

    async def ask(method: str, url: str, role: str = "pos", **more: Any) -> httpx.Response:
        async with house.client(role) as client:
            headers = {"Idempotency-Key": "p", "Accept-Language": "en", **more.pop("headers", {})}
            return await client.request(method, url, headers=headers, **more)

    answers = {
        "malformed_request": await ask("POST", "/v1/claims", content=b"{"),
        "invalid_idempotency_key": await ask(
            "POST", "/v1/claims", json=sale, headers={"Idempotency-Key": " "}
        ),
        "unauthorized": await ask("GET", path, headers={"Authorization": "Bearer x"}),
        "missing_scope": await ask("GET", "/v1/keys"),
        "foreign_store": await ask("POST", "/v1/claims", json={**sale, "store_id": "OT0001"}),
        "not_found": await ask("GET", f"{path[:-1]}x"),
        "claim_refused": await ask("POST", "/v1/claims", json=no_grade),
        "invalid_field": await ask("POST", "/v1/claims", json=text),
        "idempotency_key_reused": await ask(
            "POST", "/v1/claims", json=sale, headers={"Idempotency-Key": "k1"}
        ),
        "body_too_large": await ask("POST", "/v1/quotes", content=b" " * 300_000),
        "wrong_state": await ask("POST", f"{path}/cancel"),
        "invoice_total_differs": await ask(
            "PUT", f"{path}/invoice", json={**invoice, "total_fen": 479920}
        ),
        "nothing_to_settle": await ask(
            "POST", "/v1/settlements", "finance", json=example("SettlementBody")
        ),
        "already_exists": await ask(
            "POST", "/v1/retailers", "admin",
            json={**example("RetailerBody"), "retailer_id": "other"},
        ),
        "file_expected": await ask(
            "POST", "/v1/reconciliations", "finance", files={"file": b"x"},
            params={"from": "2025-06-18", "to": "2025-06-18", "order_no": "a", "amount": "b"},
        ),
        "bad_file": await ask(
            "POST", "/v1/reconciliations", "finance", content=b"x",
            params={"from": "2025-06-18", "to": "2025-06-18", "order_no": "a", "amount": "b"},
        ),
        "budget_below_spent": await ask(
            "POST", "/v1/budgets/appliances/adjustments", "admin",
            json={**example("AdjustmentBody"), "delta_fen": -(10**13)},
        ),
    }  # fmt: skip
    own_detail = {"wrong_state", "invalid_field", "claim_refused", "bad_file", "nothing_to_settle"}
    for code, answer in answers.items():
        body, shown = answer.json(), PROBLEMS[code]["value"]
        assert body["code"] == code, answer.text
        same = {"type", "title", "status", "code", "retryable"}
        if code not in own_detail | {"budget_below_spent", "not_found"}:
            same.add("detail")
        assert {name: body[name] for name in same} == {name: shown[name] for name in same}
        assert body.keys() >= shown.keys(), code
