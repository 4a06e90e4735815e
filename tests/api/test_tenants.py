"""Every endpoint with every role's key, another retailer's, and none: one matrix.

The status is what a well-formed request gets on the sandbox retailer's own things. 403: the key
lacks the scope. For a POS key of another retailer these things look as if they were not there.
"""

from typing import Any

import pytest

from tests.builders import checkout_json, item_json, resident_id, uscc
from tests.conftest import House

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "matrix"}
ROLES = ("pos", "other", "finance", "bureau", "admin", "nobody")
REASON = {"reason": "matrix"}
RETAILER = {"retailer_id": "r9", "uscc": uscc(9), "name": "九"}
STORE = {"store_id": "S9", "retailer_id": "other", "name": "九"}
NEW_KEY = {"role": "bureau", "label": "nine"}
ADJUSTMENT = {"delta_fen": 1, "reason": "matrix", "document_no": "D"}
TRANCHE = {"opens_at": "2025-07-01T00:00:00+08:00", "amount_fen": 1, "document_no": "D"}
INVOICE = {
    "number": "25332000000000000009",
    "date": "2025-06-18",
    "buyer": "x",
    "total_fen": 599_900,
}

PERSON = {"id_type": "resident_id", "id_number": resident_id(1)}

TILL = {"pos": 200, "other": 200}
OWN = {"pos": 200, "other": 404}
OFFICE = {"finance": 200, "bureau": 200, "admin": 200}
ADMIN = {"admin": 200}
FINANCE = {"finance": 200}
SETTLEMENT = {"retailer_id": "sandbox", "from": "2025-06-01", "to": "2025-06-18"}
RECONCILE = "/v1/reconciliations?from=2025-06-18&to=2025-06-18&claim_id=c&amount=a"
ADMIN_MAKES = {"admin": 201}
ALL = dict.fromkeys(ROLES, 200)

# (method, path, body) -> status by role; a role that is not named gets 403, nobody 401.
MATRIX: dict[tuple[str, str], tuple[Any, dict[str, int]]] = {
    ("GET", "/healthz"): (None, ALL),
    ("GET", "/readyz"): (None, ALL),
    ("GET", "/metrics"): (None, ALL),
    ("GET", "/openapi.json"): (None, ALL),
    ("GET", "/docs"): (None, ALL),
    ("GET", "/board"): (None, ALL),
    ("GET", "/board/figures"): (None, ALL),
    ("POST", "/v1/quotes"): ("checkout", {"pos": 200, "other": 403}),
    ("POST", "/v1/claims"): ("checkout", {"pos": 201, "other": 403}),
    ("POST", "/v1/claims/batch"): ("batch", TILL),
    ("GET", "/v1/claims"): (None, {**TILL, "finance": 422, "bureau": 422}),
    ("GET", "/v1/claims?claim_id={claim}"): (None, {**TILL, "finance": 200, "bureau": 200}),
    ("POST", "/v1/claims/search"): (PERSON, {"finance": 200, "bureau": 200}),
    ("GET", "/v1/claims/by-key/{key}"): (None, OWN),
    ("GET", "/v1/claims/{claim}"): (None, OWN),
    ("POST", "/v1/claims/{hold}/confirm"): (None, OWN),
    ("POST", "/v1/claims/{hold}/cancel"): (None, OWN),
    ("PUT", "/v1/claims/{claim}/invoice"): (INVOICE, OWN),
    ("GET", "/v1/claims/{claim}/invoices"): (None, OWN),
    ("POST", "/v1/claims/{claim}/refunds"): (
        {"lines": [1], "reason": "matrix"},
        {"pos": 201, "other": 404},
    ),
    ("GET", "/v1/budgets"): (None, OFFICE),
    ("GET", "/v1/budgets/ebike"): (None, OFFICE),
    ("GET", "/v1/budgets/ebike/forecast"): (None, OFFICE),
    ("POST", "/v1/budgets/ebike/adjustments"): (ADJUSTMENT, ADMIN_MAKES),
    ("GET", "/v1/budgets/ebike/tranches"): (None, OFFICE),
    ("POST", "/v1/budgets/ebike/tranches"): (TRANCHE, ADMIN_MAKES),
    ("POST", "/v1/budgets/ebike/tranches/{tranche}/withdraw"): (None, ADMIN),
    ("POST", "/v1/retailers"): (RETAILER, ADMIN_MAKES),
    ("GET", "/v1/retailers"): (None, ADMIN),
    ("GET", "/v1/retailers/sandbox"): (None, ADMIN),
    ("POST", "/v1/retailers/sandbox/suspend"): (REASON, ADMIN),
    ("POST", "/v1/retailers/sandbox/resume"): (REASON, ADMIN),
    ("POST", "/v1/stores"): (STORE, ADMIN_MAKES),
    ("GET", "/v1/stores"): (None, ADMIN),
    ("GET", "/v1/stores/NH0001"): (None, ADMIN),
    ("POST", "/v1/stores/NH0001/suspend"): (REASON, ADMIN),
    ("POST", "/v1/stores/NH0001/resume"): (REASON, ADMIN),
    ("POST", "/v1/keys"): (NEW_KEY, ADMIN_MAKES),
    ("GET", "/v1/keys"): (None, ADMIN),
    ("POST", "/v1/keys/{key_id}/rotate"): ({}, ADMIN_MAKES),
    ("POST", "/v1/keys/{key_id}/revoke"): (REASON, ADMIN),
    ("GET", "/v1/acts"): (None, ADMIN),
    ("GET", "/v1/exports/journal?from=2025-06-01&to=2025-06-30"): (None, FINANCE),
    ("GET", "/v1/exports/journal/totals?from=2025-06-01&to=2025-06-30"): (None, FINANCE),
    ("GET", "/v1/settlements"): (None, {**TILL, "finance": 200}),
    ("POST", "/v1/settlements"): (SETTLEMENT, {"finance": 409}),
    ("GET", "/v1/settlements/{nothing}"): (None, {"pos": 404, "other": 404, "finance": 404}),
    ("GET", "/v1/settlements/{nothing}/statement"): (
        None,
        {"pos": 404, "other": 404, "finance": 404},
    ),
    ("POST", "/v1/settlements/{nothing}/approve"): (None, {"finance": 404}),
    ("POST", "/v1/settlements/{nothing}/pay"): ({"payment_reference": "P1"}, {"finance": 404}),
    ("POST", "/v1/settlements/{nothing}/void"): ({"reason": "x"}, {"finance": 404}),
    ("GET", "/v1/reconciliations"): (None, FINANCE),
    ("POST", RECONCILE): ({}, {"finance": 422}),  # a JSON body is no file
    ("GET", "/v1/reconciliations/{nothing}"): (None, {"finance": 404}),
    ("GET", "/v1/reconciliations/{nothing}/items"): (None, {"finance": 404}),
}

# Path parameters of the OpenAPI document that the matrix fills with a name of its own.
FILLED = {
    "/v1/budgets/{pool}": "/v1/budgets/ebike",
    "/v1/retailers/{retailer_id}": "/v1/retailers/sandbox",
    "/v1/stores/{store_id}": "/v1/stores/NH0001",
    "{idempotency_key}": "{key}",
    "{tranche_id}": "{tranche}",
    "{settlement_id}": "{nothing}",
    "{reconciliation_id}": "{nothing}",
}


async def things(house: House) -> dict[str, str]:
    """The sandbox retailer's own claim and hold, a tranche and a key."""
    claim = await house.claim("own", items=[item_json(serial_no="OWN")])
    hold = await house.claim("held", hold=True, items=[item_json(serial_no="HELD")])
    async with house.client("admin") as client:
        tranche = await client.post("/v1/budgets/ebike/tranches", json=TRANCHE)
        key = await client.post("/v1/keys", json=NEW_KEY)
    return {
        "claim": claim.json()["claim_id"],
        "hold": hold.json()["claim_id"],
        "tranche": tranche.json()["tranche_id"],
        "key_id": key.json()["key_id"],
        "key": "own",
        "nothing": "019780c3-c9da-76f1-8a29-36f05201f175",
    }


def body_of(wanted: Any) -> Any:
    checkout = checkout_json(items=[item_json(serial_no="MATRIX")])
    if wanted == "checkout":
        return checkout
    if wanted == "batch":
        return {"claims": [{"idempotency_key": "matrix", "checkout": checkout}]}
    return wanted


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_gets_what_is_its_own(house: House, role: str) -> None:
    house.keys["nobody"] = "butie_nobody"
    known = await things(house)
    found: dict[tuple[str, str], int] = {}
    expected: dict[tuple[str, str], int] = {}
    # Suspending and confirming come late: what is looked at before must still be there.
    for (method, path), (body, statuses) in MATRIX.items():
        async with house.client(role) as client:
            answer = await client.request(
                method, path.format(**known), json=body_of(body), headers=KEY
            )
        found[method, path] = answer.status_code
        otherwise = 401 if role == "nobody" else 403
        expected[method, path] = statuses.get(role, otherwise)
    if role == "pos":  # the hold was confirmed a line before
        expected["POST", "/v1/claims/{hold}/cancel"] = 409
    assert found == expected


async def test_the_matrix_names_every_endpoint(house: House) -> None:
    documented = set()
    for path, item in house.app.openapi()["paths"].items():
        for name, filled in FILLED.items():
            path = path.replace(name, filled)
        for method in item:
            documented.add((method.upper(), path))
    named = {
        (
            method,
            path.replace("{claim}", "{claim_id}").replace("{hold}", "{claim_id}").partition("?")[0],
        )
        for method, path in MATRIX
    }
    assert documented - named == set()


async def test_no_role_sees_another_retailers_batch_or_list(house: House) -> None:
    await things(house)
    async with house.client("other") as client:
        assert (await client.get("/v1/claims")).json()["claims"] == []
        batch = await client.post("/v1/claims/batch", json=body_of("batch"))
    assert batch.json()["results"][0]["problem"]["code"] == "foreign_store"
