"""The OpenAPI document: every reference has a target, and every example is true."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from service.api.app import make_app
from service.api.auth import Refusal
from service.api.bodies import takes
from service.api.document import BINARY
from service.api.examples import PROBLEMS, REQUEST_ID, REQUESTS
from service.api.problem_kinds import KINDS
from service.api.problems import MEDIA_TYPE as PROBLEM_TYPE
from service.api.problems import Problem
from service.config import Settings
from service.retailers.directory import Directory
from tests.conftest import House
from tests.finance.books import INVOICE_ALL

DOCUMENT = make_app(Settings(database_url="postgresql://x/y", redis_url="redis://x")).openapi()
OPERATIONS = [
    (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]


# Generators name a client's functions after these.
NAMES = {
    "approve_settlement", "board", "board_figures", "cancel_claim", "confirm_claim",
    "create_claim", "create_claims", "draft_settlement", "export_journal", "get_retailer",
    "get_store", "healthz", "invoice_claim", "journal_totals", "list_acts", "list_budgets",
    "list_claims", "list_invoices", "list_items", "list_keys", "list_reconciliations",
    "list_retailers", "list_settlements", "list_stores", "pay_settlement", "post_adjustment",
    "post_key",
    "post_retailer", "post_revocation", "post_rotation", "post_store", "post_tranche",
    "post_withdrawal", "prometheus_metrics", "quote", "read_budget", "read_claim",
    "read_claim_by_key", "read_forecast", "read_reconciliation", "read_settlement",
    "read_statement_file", "read_tranches", "readyz", "reconcile", "refund_claim",
    "resume_retailer", "resume_store", "search_claims", "suspend_retailer", "suspend_store",
    "void_settlement",
}  # fmt: skip


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def problems_of(operation: dict[str, Any]) -> dict[int, set[str]]:
    """Codes by status."""
    return {
        int(status): set(answer["content"][PROBLEM_TYPE]["examples"])
        for status, answer in operation["responses"].items()
        if PROBLEM_TYPE in answer.get("content", {})
    }


def test_every_reference_has_a_target() -> None:
    for reference in set(references(DOCUMENT)):
        target: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in target, reference
            target = target[step]


def test_every_schema_is_used() -> None:
    prefix = "#/components/schemas/"
    assert DOCUMENT["components"]["schemas"].keys() == {
        reference.removeprefix(prefix)
        for reference in references(DOCUMENT)
        if reference.startswith(prefix)
    }


def test_two_bodies_may_not_share_a_schema_name() -> None:
    with pytest.raises(AssertionError, match="Checkout"):
        takes(type("Checkout", (BaseModel,), {}))


def test_schema_names_are_plain() -> None:
    assert [name for name in DOCUMENT["components"]["schemas"] if not name.isalnum()] == []


def test_a_released_operation_keeps_its_name() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert sorted(names) == sorted(NAMES)


def test_the_document_says_where_the_service_is_and_which_routes_need_no_key() -> None:
    assert DOCUMENT["servers"]
    assert DOCUMENT["info"]["license"]["identifier"] == "Apache-2.0"
    open_paths = {path for _, path, operation in OPERATIONS if operation["security"] == []}
    assert open_paths == {"/healthz", "/readyz", "/metrics"}


def test_every_problem_stands_at_its_status_with_its_example() -> None:
    documented: set[str] = set()
    for _, path, operation in OPERATIONS:
        for status, codes in problems_of(operation).items():
            assert {PROBLEMS[code]["value"]["status"] for code in codes} == {status}, path
            documented |= codes
    # No operation answers 405: it says that there is no such operation.
    assert KINDS.keys() - documented == {"method_not_allowed"}
    for code in documented:
        Problem.model_validate(PROBLEMS[code]["value"])
        assert not set("{}") & set(PROBLEMS[code]["value"]["detail"]), code


def test_only_problems_are_documented_as_errors_except_that_readyz_names_its_faults() -> None:
    others = {
        (path, status)
        for _, path, operation in OPERATIONS
        for status, answer in operation["responses"].items()
        if int(status) >= 400 and list(answer["content"]) != [PROBLEM_TYPE]
    }
    assert others == {("/readyz", "503")}
    ready = DOCUMENT["paths"]["/readyz"]["get"]["responses"]["503"]["content"]
    assert ready["application/json"]["schema"]["$ref"].endswith("/Ready")


def test_every_operation_with_a_key_documents_its_rate_and_the_load() -> None:
    for _, path, operation in OPERATIONS:
        if operation["security"]:
            problems = problems_of(operation)
            assert "too_many_requests" in problems[429], path
            assert "overloaded" in problems[503], path


def test_a_route_that_takes_any_text_in_its_path_documents_no_422() -> None:
    for path in ("/v1/claims/{claim_id}", "/v1/budgets/{pool}"):
        assert 422 not in problems_of(DOCUMENT["paths"][path]["get"])


def test_every_request_body_has_an_example() -> None:
    bodies = [
        (body["schema"].get("$ref", "").rpartition("/")[2] or operation["operationId"], body)
        for _, _, operation in OPERATIONS
        for media_type, body in operation.get("requestBody", {}).get("content", {}).items()
        if media_type not in BINARY
    ]
    assert all(body["examples"] for _, body in bodies)
    assert {name for name, _ in bodies} == REQUESTS.keys()


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
    found = await send("bureau", "/v1/claims/search", "PersonBody")
    assert [one["claim_id"] for one in found["claims"]] == [claim["claim_id"]]
    batch = await send("pos", "/v1/claims/batch", "BatchBody")
    assert [result["status"] for result in batch["results"]] == [409, 409]  # claimed just now
    invoice = f"/v1/claims/{claim['claim_id']}/invoice"
    facts = await send("pos", invoice, "InvoiceBody", method="PUT")
    async with house.client("pos") as client:
        file = example("invoice_claim").encode()
        answer = await client.put(
            invoice, content=file, headers={"Content-Type": "application/xml"}
        )
    sent.add(("invoice_claim", "xml"))
    assert answer.json() == {**facts, "file_sha256": hashlib.sha256(file).hexdigest()}
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
    async with house.client("finance") as client:
        file = example("reconcile").encode()
        started = await client.post("/v1/reconciliations", params=FILE_QUERY, content=file)
    assert started.status_code == 202, started.text
    sent.add(("reconcile", "csv"))
    assert sent == {(model, name) for model, examples in REQUESTS.items() for name in examples}


DAY = {"from": "2025-06-18", "to": "2025-06-18"}
FILE_QUERY = {**DAY, "order_no": "order", "amount": "subsidy"}


async def ask(
    house: House, method: str, url: str, role: str = "pos", *, app: Any = None, **more: Any
) -> httpx.Response:
    headers = {"Idempotency-Key": "p", "Accept-Language": "en", **more.pop("headers", {})}
    async with house.client(role, app) as client:
        return await client.request(method, url, headers=headers, **more)


def assert_as_shown(code: str, answer: httpx.Response) -> None:
    """The answer is the document's example, byte for byte but for the request's id."""
    assert answer.headers["Content-Type"] == PROBLEM_TYPE
    body = {**answer.json(), "request_id": REQUEST_ID}
    assert (answer.status_code, body) == (KINDS[code].status, PROBLEMS[code]["value"])


@pytest.mark.anyio
async def test_problem_examples_of_tills_are_what_the_service_answers(house: House) -> None:
    sale = example("Checkout")
    claim = (await ask(house, "POST", "/v1/claims", json=sale)).json()["claim_id"]
    other = (await house.claim("k2")).json()["claim_id"]
    path, item = f"/v1/claims/{claim}", sale["items"][0]
    invoice = example("InvoiceBody")
    await ask(house, "PUT", f"{path}/invoice", json=invoice)
    limited = await house.open_worker(rate_limit_per_s=1, rate_limit_burst=1)
    await ask(house, "GET", path, app=limited)

    def sold(**facts: Any) -> dict[str, Any]:
        return {"json": {**sale, "items": [{**item, **facts}]}, "headers": {"Idempotency-Key": "q"}}

    answers = {
        "malformed_request": await ask(house, "POST", "/v1/claims", content=b"{"),
        "invalid_idempotency_key": await ask(
            house, "POST", "/v1/claims", json=sale, headers={"Idempotency-Key": " "}
        ),
        "unauthorized": await ask(house, "GET", path, headers={"Authorization": "Bearer x"}),
        "missing_scope": await ask(house, "GET", "/v1/keys"),
        "foreign_store": await ask(
            house, "POST", "/v1/claims", json={**sale, "store_id": "OT0001"}
        ),
        "not_found": await ask(house, "GET", f"{path[:-1]}x"),
        "claim_refused": await ask(house, "POST", "/v1/claims", **sold(energy_grade="3")),
        "invalid_field": await ask(house, "POST", "/v1/claims", **sold(price_fen="1")),
        "idempotency_key_reused": await ask(
            house, "POST", "/v1/claims", json={**sale, "order_no": "another"}
        ),
        "body_too_large": await ask(house, "POST", "/v1/quotes", content=b" " * 300_000),
        "unsupported_encoding": await ask(
            house, "POST", "/v1/claims", json=sale, headers={"Content-Encoding": "br"}
        ),
        "wrong_state": await ask(house, "POST", f"{path}/cancel"),
        "invoice_total_differs": await ask(
            house, "PUT", f"{path}/invoice", json={**invoice, "total_fen": 479920}
        ),
        "invoice_taken": await ask(
            house, "PUT", f"/v1/claims/{other}/invoice", json=invoice
        ),
        "too_many_requests": await ask(house, "GET", path, app=limited),
    }  # fmt: skip
    for code, answer in answers.items():
        assert_as_shown(code, answer)


@pytest.mark.anyio
async def test_problem_examples_of_offices_are_what_the_service_answers(house: House) -> None:
    settlement = example("SettlementBody")
    answers = {
        "nothing_to_settle": await ask(house, "POST", "/v1/settlements", "finance", json=settlement)
    }
    await ask(house, "POST", "/v1/claims", json=example("Checkout"))
    await house.sql(INVOICE_ALL)
    advance = await ask(
        house, "POST", "/v1/settlements", "finance", json={**settlement, "advance_bp": 5000}
    )
    assert advance.status_code == 201, advance.text
    till_key = {**example("KeyBody"), "retailer_id": "sandbox"}
    key = (await ask(house, "POST", "/v1/keys", "admin", json=till_key)).json()["key_id"]
    await ask(house, "POST", f"/v1/keys/{key}/revoke", "admin", json=example("ReasonBody"))
    opened = await ask(
        house, "POST", "/v1/budgets/ebike/tranches", "admin",
        json={**example("TrancheBody"), "opens_at": "2025-06-01T00:00:00+08:00"},
    )  # fmt: skip
    await house.service.claims.sweeper.run_once()  # opens it
    answers |= {
        "advance_outstanding": await ask(
            house, "POST", "/v1/settlements", "finance", json={**settlement, "advance_bp": 5000}
        ),
        "same_key": await ask(
            house, "POST", f"/v1/settlements/{advance.json()['settlement_id']}/approve", "finance"
        ),
        "key_ended": await ask(
            house, "POST", f"/v1/keys/{key}/rotate", "admin", json=example("RotateBody")
        ),
        "tranche_ended": await ask(
            house, "POST", f"/v1/budgets/ebike/tranches/{opened.json()['tranche_id']}/withdraw",
            "admin",
        ),
        "already_exists": await ask(
            house, "POST", "/v1/retailers", "admin",
            json={**example("RetailerBody"), "retailer_id": "other"},
        ),
        "budget_below_spent": await ask(
            house, "POST", "/v1/budgets/appliances/adjustments", "admin",
            json={**example("AdjustmentBody"), "delta_fen": -(10**13)},
        ),
        "file_expected": await ask(
            house, "POST", "/v1/reconciliations", "finance", files={"file": b"x"},
            params=FILE_QUERY,
        ),
        "bad_file": await ask(
            house, "POST", "/v1/reconciliations", "finance", content=b"", params=FILE_QUERY
        ),
    }  # fmt: skip
    for code, answer in answers.items():
        assert_as_shown(code, answer)


# Engines that are away, races and full tables: other tests bring these about.
HARD_TO_REACH = (
    "advance_too_large", "gate_unavailable", "ledger_unavailable", "overloaded",
    "reconciliations_running", "retailer_suspended", "standby_behind", "too_many_rows",
)  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("code", HARD_TO_REACH)
async def test_the_example_of_a_rare_problem_is_what_the_service_makes_of_its_code(
    house: House, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    async def refuse(self: Directory, secret: str) -> None:
        raise Refusal(code)

    monkeypatch.setattr(Directory, "caller", refuse)
    assert_as_shown(code, await ask(house, "GET", "/v1/budgets", "finance"))


@pytest.mark.anyio
async def test_the_example_of_an_internal_error_is_what_a_bug_is_answered_with(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: Directory, secret: str) -> None:
        raise RuntimeError

    monkeypatch.setattr(Directory, "caller", fail)
    assert_as_shown("internal_error", await ask(house, "GET", "/v1/budgets", "finance"))
