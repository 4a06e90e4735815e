"""While PostgreSQL fails over, a read-only server answers for some time."""

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.builders import checkout_json, item_json, resident_id, serial
from tests.conftest import House

pytestmark = pytest.mark.anyio


async def may_write(admin: asyncpg.Connection, name: str, yes: bool) -> None:
    """Make the database writable or read-only, and cut the service's connections to it."""
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {not yes}")
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = $1 AND application_name LIKE 'butie%'",
        name,
    )


async def test_a_read_only_server_means_503_until_another_takes_over(
    house: House, database_url: str
) -> None:
    url = urlsplit(database_url)
    admin = await asyncpg.connect(url._replace(path="/postgres").geturl())
    assert (await house.claim("k1")).status_code == 201
    await may_write(admin, url.path[1:], False)
    person = {"id_type": "resident_id", "id_number": resident_id(2)}
    answer = await house.claim("k2", consumer=person, items=[item_json(serial_no=serial(2))])
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
    assert answer.headers["retry-after"]
    async with house.client() as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["ledger"]) == (503, "down")
        assert "only be read" in ready.json()["faults"][0]
        again = await client.get("/v1/claims/by-key/k1")
    assert again.status_code in (200, 503)
    await may_write(admin, url.path[1:], True)
    while (answer := await house.claim("k1")).status_code == 503:
        assert answer.json()["retryable"]
    assert answer.headers["idempotency-replayed"] == "true"
    async with house.client() as client:
        assert (await client.get("/readyz")).status_code == 200
    await admin.close()


@pytest.mark.parametrize("call", ["quote", "confirm", "refund", "read", "by-key"])
async def test_a_call_that_queues_behind_a_batch_that_hangs_is_answered_in_time(
    house: House, call: str
) -> None:
    """The time limit includes the wait for the batch before."""
    app = await house.open_worker(answer_within_ms=200)
    service, hangs = app.state.service, asyncio.Event()

    async def hang(*args: object, **how: object) -> None:
        await hangs.wait()
        raise AssertionError("no caller waits for this any more")

    batchers = {
        "quote": service.claims.path._standing_batcher,
        "confirm": service.claims.lifecycle._endings,
        "refund": service.claims.lifecycle._refunds,
        "read": service.claims.lifecycle._claims,
        "by-key": service.claims.path._key_batcher,
    }
    batchers[call]._send = hang
    claim_id = "019780c3-c9da-76f1-8a29-36f05201f175"
    refund = {"lines": [1], "reason": "returned"}
    asked = {
        "quote": ("POST", "/v1/quotes", checkout_json()),
        "confirm": ("POST", f"/v1/claims/{claim_id}/confirm", None),
        "refund": ("POST", f"/v1/claims/{claim_id}/refunds", refund),
        "read": ("GET", f"/v1/claims/{claim_id}", None),
        "by-key": ("GET", "/v1/claims/by-key/k1", None),
    }
    method, path, body = asked[call]
    async with house.client(app=app) as client:
        answers = await asyncio.gather(
            *(
                client.request(method, path, json=body, headers={"Idempotency-Key": "k1"})
                for _ in range(3)
            )
        )
    assert {answer.status_code for answer in answers} == {503}
    assert all(answer.headers["retry-after"] for answer in answers)
    hangs.set()
