"""What the operator and the machines around us call."""

import pytest

from tests.conftest import House

GIVEN = "019780c3-c9da-76f1-8a29-36f05201f175"

pytestmark = pytest.mark.anyio


async def test_health_readiness_metrics_and_docs_answer_without_a_key(house: House) -> None:
    await house.claim("k1")
    async with house.client() as anyone:
        anyone.headers.pop("authorization")
        assert (await anyone.get("/healthz")).json() == {"status": "ok"}
        ready = (await anyone.get("/readyz")).json()
        assert ready == {"ready": True, "ledger": "up", "gate": "up", "faults": []}
        metrics = (await anyone.get("/metrics")).text
        docs = await anyone.get("/docs")
        openapi = (await anyone.get("/openapi.json")).json()
    assert 'butie_claims_total{outcome="granted"} ' in metrics
    assert 'butie_pool_fen{part="remaining",pool="cars"} 1.5e+09' in metrics
    assert docs.status_code == 200
    assert "https://" not in docs.text
    assert openapi["components"]["schemas"]["Checkout"]["additionalProperties"] is False


async def test_every_answer_has_a_request_id_and_the_callers_own_is_kept(house: House) -> None:
    async with house.client() as anyone:
        given = await anyone.get("/healthz", headers={"X-Request-Id": GIVEN})
        hostile = await anyone.get("/healthz", headers={"X-Request-Id": "a b<script>"})
    assert given.headers["x-request-id"] == GIVEN
    assert hostile.headers["x-request-id"] not in ("", "a b<script>")


async def test_budgets_are_for_those_who_may_read_them(house: House) -> None:
    async with house.client("pos") as till, house.client("bureau") as bureau:
        assert (await till.get("/v1/budgets")).status_code == 403
        pools = (await bureau.get("/v1/budgets")).json()["budgets"]
        missing = await bureau.get("/v1/budgets/nope")
    assert sum(pool["allocated_fen"] for pool in pools) == 4_600_000_000
    assert missing.status_code == 404


async def test_an_unknown_address_and_method_are_problems(house: House) -> None:
    async with house.client() as anyone:
        lost = await anyone.get("/v2/claims")
        wrong = await anyone.delete("/v1/claims")
    assert (lost.status_code, lost.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")


async def test_without_a_ledger_readiness_says_so_and_claims_are_503(house: House) -> None:
    await house.claim("warm")
    worker = await house.open_worker(database_url="postgresql://x:y@127.0.0.1:1/none")
    async with house.client(app=worker) as till:
        ready = await till.get("/readyz")
        assert ready.status_code == 503
        assert "PostgreSQL" in ready.json()["faults"][0]
    refused = await house.claim("k1", app=worker)
    assert (refused.status_code, refused.json()["code"]) == (503, "ledger_unavailable")
    assert refused.headers["retry-after"]
