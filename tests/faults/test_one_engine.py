"""The answers to a till while one engine is slow, away or replaced.

Times are printed, not asserted: `pytest -s` shows them.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.claims import sweeper
from service.claims.gate.gate import Gate
from service.claims.outcomes import GateAway
from tests.builders import item_json, resident_id, serial
from tests.conftest import House, open_house
from tests.faults.engines import Valkey
from tests.faults.proxy import Proxy
from tests.faults.storm import Storm, checkout_of

pytestmark = pytest.mark.anyio

# Much longer than any sweep or retry.
RECOVERED_WITHIN_S = 20


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "valkey")
    server.start()
    yield server
    server.freeze(False)
    server.kill()


@pytest.fixture
async def shop(database_url: str, valkey: Valkey, tmp_path: Path) -> AsyncIterator[House]:
    """A house with a Redis that only this test uses."""
    url = f"redis://127.0.0.1:{valkey.port}/0"
    async with open_house(database_url, url, tmp_path) as opened:
        yield opened


def claim(house: House, n: int, **overrides: Any) -> Any:
    person = {"id_type": "resident_id", "id_number": resident_id(n)}
    items = [item_json(serial_no=serial(n))]
    return house.claim(f"k{n}", consumer=person, items=items, **overrides)


UP = {"ready": True, "ledger": "up", "gate": "up", "faults": []}


async def ready(house: House, app: Any = None) -> tuple[int, dict[str, Any]]:
    async with house.client(app=app) as client:
        answer = await client.get("/readyz")
    return answer.status_code, answer.json()


async def test_the_log_says_once_that_redis_is_away_and_once_that_it_is_back(
    shop: House, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a claim has noticed it before the sweeper."""
    events: list[str] = []
    for level in ("warning", "info"):
        monkeypatch.setattr(sweeper.log, level, lambda event, **facts: events.append(event))
    valkey.freeze(True)
    assert (await claim(shop, 1)).status_code == 201
    assert shop.service.claims.gate.away
    for _ in range(2):
        with pytest.raises(GateAway):
            await shop.service.claims.sweeper.run_once()
    valkey.freeze(False)
    await gate_is_back(shop)
    await shop.service.claims.sweeper.run_once()
    assert [event for event in events if event.startswith("gate")] == ["gate_away", "gate_back"]


@pytest.mark.parametrize(
    ("refuse", "take_again", "reason"),
    [
        (
            lambda redis: redis.execute_command("REPLICAOF", "127.0.0.1", "1"),
            lambda redis: redis.execute_command("REPLICAOF", "NO", "ONE"),
            "a read-only replica",
        ),
        (
            lambda redis: redis.config_set("maxmemory", "1mb"),
            lambda redis: redis.config_set("maxmemory", "0"),
            "out of memory",
        ),
    ],
    ids=["replica", "full"],
)
async def test_a_redis_that_takes_no_writes_is_down_with_its_reason(
    shop: House, valkey: Valkey, monkeypatch: pytest.MonkeyPatch, refuse: Any, take_again: Any,
    reason: str,
) -> None:  # fmt: skip
    logged: list[str] = []
    monkeypatch.setattr(
        sweeper.log, "warning", lambda event, **facts: logged.append(facts.get("reason", ""))
    )
    strict = await shop.open_worker(gate_mode="refuse")
    assert await ready(shop) == (200, UP)
    refuse(valkey.client)
    try:
        for app, status in ((None, 200), (strict, 503)):
            told = await ready(shop, app)
            assert (told[0], told[1]["gate"]) == (status, "down")
            assert reason in told[1]["faults"][0]
        with pytest.raises(GateAway):
            await shop.service.claims.sweeper.run_once()
        assert logged and all(reason in text for text in logged)
    finally:
        take_again(valkey.client)
    assert await ready(shop) == (200, UP)
    await gate_is_back(shop)


async def gate_is_back(house: House) -> None:
    deadline = time.monotonic() + RECOVERED_WITHIN_S
    while house.service.claims.gate.away:
        assert time.monotonic() < deadline, "the gate does not come back"
        await asyncio.sleep(0.05)


async def test_claims_go_on_while_redis_is_stopped_and_it_is_used_again(
    shop: House, valkey: Valkey
) -> None:
    assert (await claim(shop, 0)).status_code == 201
    valkey.freeze(True)
    took = []
    for n in range(1, 6):
        started = time.monotonic()
        assert (await claim(shop, n)).status_code == 201
        took.append(round(time.monotonic() - started, 3))
    print("claims while Redis is stopped took", took)
    assert shop.service.claims.gate.away
    status, body = await ready(shop)
    assert (status, body["gate"]) == (200, "down")
    assert "ledger decides alone" in body["faults"][0]
    # The circuit is open: a hundred claims do not wait for Redis a hundred times.
    answers = await asyncio.gather(*(claim(shop, n) for n in range(10, 110)))
    assert {answer.status_code for answer in answers} == {201}
    refused = await shop.claim("x", items=[item_json(serial_no=serial(0))])
    assert refused.json()["reasons"][0]["code"] == "serial_already_claimed"
    valkey.freeze(False)
    await gate_is_back(shop)
    await shop.quiet()
    await shop.service.claims.sweeper.run_once()
    async with shop.client("bureau") as client:
        left = (await client.get("/v1/budgets/appliances")).json()["remaining_fen"]
    view = await shop.service.claims.gate.view(time.time() + 3600)
    assert view.left_fen["appliances"] + sum_in_flight(view) == left
    async with shop.client() as client:
        metrics = (await client.get("/metrics")).text
    assert "butie_gate_up 1.0" in metrics


async def test_after_a_dead_connection_to_redis_no_older_one_is_used(valkey: Valkey) -> None:
    """Otherwise each older connection would make the gate count as away again."""
    proxy = Proxy()
    proxy.upstream_port = valkey.port
    await proxy.start()
    gate = Gate(f"redis://127.0.0.1:{proxy.port}/0", "330402", ["cars"])
    await asyncio.gather(*(gate.view(time.time()) for _ in range(5)))
    proxy.strand()
    with pytest.raises(GateAway):
        await gate.view(time.time())
    await asyncio.gather(*(gate.view(time.time()) for _ in range(5)))
    await gate.close()
    proxy.close()


def sum_in_flight(view: Any) -> int:
    """The fen of admissions that Redis holds until their deadline, because no settlement came."""
    return int(view.in_flight) * 119_980


async def test_an_emptied_redis_is_filled_while_claims_go_on(shop: House, valkey: Valkey) -> None:
    enough = asyncio.Event()

    async def sell(till: int) -> list[int]:
        statuses = []
        n = till * 1000
        while not enough.is_set():
            statuses.append((await claim(shop, n)).status_code)
            n += 1
        return statuses

    selling = [asyncio.create_task(sell(till)) for till in range(5)]
    await asyncio.sleep(0.2)
    valkey.client.flushall()
    started = time.monotonic()
    while not valkey.client.exists("butie:{330402}:pool:appliances"):
        assert time.monotonic() < started + RECOVERED_WITHIN_S
        await asyncio.sleep(0.02)
    print(f"the gate was filled again after {time.monotonic() - started:.2f} s")
    await asyncio.sleep(0.2)
    enough.set()
    statuses = [status for till in selling for status in await till]
    assert set(statuses) == {201}
    await shop.quiet()
    await shop.service.claims.sweeper.run_once()
    rows = await shop.sql("SELECT allocated_fen - spent_fen FROM pool WHERE pool = 'appliances'")
    assert rows[0][0] == 2_000_000_000 - len(statuses) * 119_980


async def test_in_refuse_mode_claims_wait_for_redis(shop: House, valkey: Valkey) -> None:
    app = await shop.open_worker(gate_mode="refuse")
    assert (await claim(shop, 0, app=app)).status_code == 201
    valkey.freeze(True)
    answer = await claim(shop, 1, app=app)
    assert (answer.status_code, answer.json()["code"]) == (503, "gate_unavailable")
    assert answer.headers["retry-after"]
    status, body = await ready(shop, app)
    assert (status, body["ready"]) == (503, False)
    assert "claims are refused" in body["faults"][0]
    valkey.freeze(False)
    service = app.state.service
    deadline = time.monotonic() + RECOVERED_WITHIN_S
    while service.claims.gate.away and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert (await claim(shop, 1, app=app)).status_code == 201


async def test_a_ledger_that_was_restored_to_an_older_state_is_followed(
    sweeper_at_rest: None, house: House
) -> None:
    """The gate's version is then ahead of the ledger's, and the gate must go back."""
    for n in range(3):
        await claim(house, n)
    await house.quiet()
    await house.sql("UPDATE pool SET confirmed_fen = 0, version = 1 WHERE pool = 'appliances'")
    assert house.gate_left() == 2_000_000_000 - 3 * 119_980
    await house.service.claims.sweeper.run_once()
    assert house.gate_left() == 2_000_000_000


async def test_a_sold_out_pool_is_refused_without_asking_the_ledger(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.set_budget("appliances", 0)
    fresh = {"sold_at": datetime.now(UTC) + house.service.clock.offset}
    asked = []

    async def ask(*args: object, **how: object) -> Any:
        asked.append(args)
        raise AssertionError("the ledger was asked")

    for name in ("claims_by_key", "standing", "commit"):
        monkeypatch.setattr(house.service.claims.ledger, name, ask)
    # The gate then counts as one that has remembered every key for long enough.
    gate = house.service.claims.gate._client
    await gate.hset("butie:{330402}:memory", "since", 0)
    answer = await claim(house, 1, sold_at=fresh["sold_at"].isoformat())
    assert answer.json()["reasons"][0]["code"] == "budget_exhausted"
    assert asked == []


async def test_a_claim_that_bypassed_the_gate_is_found_by_its_retry(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate has never seen the key, and the pool is empty now, so the ledger must be asked."""
    await house.set_budget("appliances", 119_980)
    gate = house.service.claims.gate._client
    await gate.hset("butie:{330402}:memory", "since", 0)
    sold_at = (datetime.now(UTC) + house.service.clock.offset).isoformat()
    other = await house.open_worker(redis_url="redis://127.0.0.1:1/0")
    granted = await claim(house, 1, app=other, sold_at=sold_at)
    assert granted.status_code == 201
    await house.service.claims.sweeper.run_once()
    again = await claim(house, 1, sold_at=sold_at)
    assert (again.status_code, again.json()) == (201, granted.json())


# --- PostgreSQL -------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(300)
def test_postgres_away_or_stopped_means_503_until_it_is_back(tmp_path: Path) -> None:
    storm = Storm(tmp_path, seed=1)
    with storm.up():
        for name, away, back in (
            ("killed", storm.postgres.kill, storm.start_postgres),
            (
                "stopped",
                lambda: storm.postgres.freeze(True),
                lambda: storm.postgres.freeze(False),
            ),
            (
                "swallowed",
                lambda: setattr(storm.ledger_proxy, "swallows", True),
                lambda: setattr(storm.ledger_proxy, "swallows", False),
            ),
        ):
            assert storm.sell_one(f"before-{name}").status_code == 201
            # A claim that is answered with 503 may have been granted.
            sales = {n: json.dumps(checkout_of(f"{name}-{n}")).encode() for n in range(3)}
            away()
            for n, sale in sales.items():
                started = time.monotonic()
                answer = storm.sell_one(f"{name}-{n}", body=sale)
                print(f"{name}: {answer.status_code} after {time.monotonic() - started:.2f} s")
                assert answer.status_code == 503
                assert answer.json()["retryable"]
                assert answer.headers["retry-after"]
            back()
            started = time.monotonic()
            while (answer := storm.sell_one(f"{name}-0", body=sales[0])).status_code != 201:
                assert answer.status_code == 503, answer.text
                assert time.monotonic() < started + RECOVERED_WITHIN_S, answer.text
                time.sleep(0.05)
            print(f"{name}: back after {time.monotonic() - started:.2f} s")
        assert storm.connections() <= storm.connections_max()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_sigterm_answers_what_was_admitted_and_ends(tmp_path: Path) -> None:
    storm = Storm(tmp_path, seed=2)
    with storm.up():
        assert storm.sell_one("warm").status_code == 201
        storm.ledger_proxy.delay_s = 0.05
        answers = storm.sell_many(30)
        time.sleep(0.3)  # until some are in flight
        workers = storm.workers()
        started = time.monotonic()
        storm.service.send_signal(signal.SIGTERM)
        storm.service.wait(30)
        print(f"ended after {time.monotonic() - started:.1f} s")
        got = answers()
        storm.ledger_proxy.delay_s = 0.0
        assert not [worker for worker in workers if worker.is_running()]
        granted = [answer for answer in got if answer is not None and answer.status_code == 201]
        print(f"{len(granted)} of {len(got)} were granted, the others refused")
        assert granted
        storm.serve_again()
        for answer in granted:
            key = answer.request.headers["Idempotency-Key"]
            again = storm.sell_one(key, body=answer.request.content)
            assert again.headers["idempotency-replayed"] == "true"
            assert again.json() == answer.json()
