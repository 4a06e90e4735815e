"""The claims of one batch request are decided together, and each ends as if it came alone."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.claims.gate.gate import Gate
from service.claims.ledger.ledger import Ledger
from service.claims.outcomes import GateAway
from service.claims.path import QUEUE_MAX, TOGETHER_MAX, ClaimPath
from service.core.quote import quote
from service.embedded import Engines
from tests.builders import checkout_json, item_json, resident_id, serial
from tests.conftest import Clones, Furnished, House, cloned, open_house
from tests.faults.proxy import Proxy, proxied

pytestmark = pytest.mark.anyio

SUBSIDY_FEN = 119_980


def one(n: int, key: str | None = None, **overrides: Any) -> dict[str, Any]:
    checkout = checkout_json(
        consumer={"id_type": "resident_id", "id_number": resident_id(n)},
        items=[item_json(serial_no=serial(n))],
    )
    return {"idempotency_key": key or f"k{n}", "checkout": {**checkout, **overrides}}


async def send(
    house: House, claims: list[dict[str, Any]], app: Any = None, **headers: str
) -> list[dict[str, Any]]:
    """The results of a batch."""
    async with house.client(app=app) as client:
        answer = await client.post("/v1/claims/batch", json={"claims": claims}, headers=headers)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    assert [result["idempotency_key"] for result in results] == [
        claim["idempotency_key"] for claim in claims
    ]
    return results


async def set_budget(house: House, fen: int) -> None:
    with suppress(GateAway):  # a test without a gate
        await house.set_budget("appliances", fen)


async def send_alone(house: House, claim: dict[str, Any], app: Any = None) -> dict[str, Any]:
    """The same claim by itself, as a result of a batch."""
    async with house.client(app=app) as client:
        answer = await client.post(
            "/v1/claims",
            json=claim["checkout"],
            headers={"Idempotency-Key": claim["idempotency_key"]},
        )
    return {
        "idempotency_key": claim["idempotency_key"],
        "status": answer.status_code,
        "replayed": answer.headers.get("idempotency-replayed") == "true",
        "claim" if answer.status_code == 201 else "problem": answer.json(),
    }


# --- a batch against one after another --------------------------------------------------


@pytest.fixture(params=["with_gate", "ledger_alone"])
async def pair(
    request: pytest.FixtureRequest,
    engine_urls: Engines,
    clones: Clones,
    furnished: Furnished,
    tmp_path: Path,
) -> AsyncIterator[tuple[House, House]]:
    """Two services, each with a ledger and a gate of its own, or without a gate."""
    (tmp_path / "sandbox.json").write_bytes(furnished.keys.read_bytes())
    gates = [f"{engine_urls.redis_url.rpartition('/')[0]}/{n}" for n in range(2)]
    if request.param == "ledger_alone":
        gates = ["redis://127.0.0.1:1/0"] * 2
    async with (
        cloned(clones, furnished.database) as first_url,
        cloned(clones, furnished.database) as second_url,
        open_house(first_url, gates[0], tmp_path) as first,
        open_house(second_url, gates[1], tmp_path) as second,
    ):
        yield first, second


def colliding(luck: random.Random) -> list[dict[str, Any]]:
    """Claims of few people and serial numbers. Most collide. Some come again, and some with the key
    of one of the first, which are granted."""
    claims = []
    for n in range(150):
        items = [
            item_json(
                line_no=line,
                serial_no=serial(1000 * n if n < 5 else 2 * luck.randint(0, 60) + line),
                price_fen=luck.choice((100_000, 599_900)),
                energy_grade="3" if n > 5 and luck.random() < 0.05 else "1",
            )
            for line in range(1, 2 if n < 5 else luck.randint(2, 3))
        ]
        person = resident_id(1000 + n if n < 5 else luck.randint(0, 30))
        claims.append(
            one(
                n,
                f"k{luck.randint(0, 4)}" if n > 5 and luck.random() < 0.1 else f"k{n}",
                consumer={"id_type": "resident_id", "id_number": person},
                items=items,
                store_id="NH0001" if n < 5 else luck.choice(("NH0001",) * 9 + ("OT0001",)),
                hold=luck.random() < 0.2,
                order_no=f"order {n}",
            )
        )
        if luck.random() < 0.1:
            claims.append(luck.choice(claims))
    return claims


def comparable(results: list[dict[str, Any]]) -> list[Any]:
    """Without what differs between two ledgers: ids, instants, and the request's id."""
    others = {"claim_id": "", "created_at": "", "expires_at": "", "request_id": "", "reasons": []}
    return [
        {
            name: {**value, **{other: others[other] for other in others if other in value}}
            if name in ("claim", "problem")
            else value
            for name, value in result.items()
        }
        for result in results
    ]


def reasons_of(result: dict[str, Any]) -> set[tuple[int, str]]:
    reasons = result.get("problem", {}).get("reasons", ())
    return {(reason["line_no"], reason["code"]) for reason in reasons}


ROWS = """
SELECT 'claim' AS kind, idempotency_key, order_no, store_id, state, price_fen, subsidy_fen,
    consumer_digest, NULL::text AS more
FROM claim
UNION ALL
SELECT 'line', c.idempotency_key, l.category, l.scheme, l.state, l.price_fen, l.subsidy_fen, NULL,
    concat_ws('|', l.line_no, l.pool, l.serial_no, l.quotas)
FROM claim_line AS l JOIN claim AS c USING (claim_id)
UNION ALL
SELECT 'serial', c.idempotency_key, s.serial_no, NULL, NULL, NULL, s.line_no, NULL, NULL
FROM serial_claimed AS s JOIN claim AS c USING (claim_id)
UNION ALL
SELECT 'quota', q.quota, q.period, NULL, NULL, used, used_max, subject, NULL FROM quota_use AS q
UNION ALL
SELECT 'key', k.idempotency_key, NULL, NULL, NULL, NULL, NULL, k.fingerprint, NULL
FROM idempotency_key AS k
UNION ALL
SELECT 'entry', c.idempotency_key, j.kind, j.store_id, j.pool, j.amount_fen, j.line_no, NULL, NULL
FROM journal AS j JOIN claim AS c USING (claim_id)
UNION ALL
SELECT 'pool', pool, NULL, NULL, NULL, confirmed_fen, reserved_fen, NULL, NULL FROM pool
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""


@pytest.mark.parametrize("seed", range(4))
async def test_a_batch_ends_as_if_each_claim_had_come_after_the_other(
    pair: tuple[House, House], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:  # in several groups
        monkeypatch.setattr("service.claims.path.TOGETHER_MAX", 40)
    claims = colliding(random.Random(seed))
    if not pair[0].service.claims.gate.away:  # without it, claims that collide wait for the others
        for house in pair:
            await set_budget(house, 30 * SUBSIDY_FEN + seed)
    together = await send(pair[0], claims)
    alone = [await send_alone(pair[1], claim) for claim in claims]
    assert comparable(together) == comparable(alone)
    # Which reasons the ledger has is as of the moment: others may have got the money meanwhile.
    assert list(map(bool, map(reasons_of, together))) == list(map(bool, map(reasons_of, alone)))
    rows = [[tuple(row) for row in await house.sql(ROWS)] for house in pair]
    assert rows[0] == rows[1]
    seen = {result.get("problem", {}).get("code", result["replayed"]) for result in together}
    assert seen == {False, True, "claim_refused", "idempotency_key_reused", "foreign_store"}
    for house in pair:
        await house.quiet()


async def test_a_batch_that_is_sent_again_is_replayed_whole(pair: tuple[House, House]) -> None:
    claims = [one(n) for n in range(150)]
    first = await send(pair[0], claims)
    again = await send(pair[0], claims)
    assert {(result["status"], result["replayed"]) for result in first} == {(201, False)}
    assert again == [{**result, "replayed": True} for result in first]


async def test_an_empty_pool_refuses_a_whole_batch(pair: tuple[House, House]) -> None:
    await set_budget(pair[0], 3 * SUBSIDY_FEN)
    results = await send(pair[0], [one(n) for n in range(100)], **{"Accept-Language": "en"})
    assert [result["status"] for result in results] == [201] * 3 + [409] * 97
    assert "The money" in results[-1]["problem"]["reasons"][0]["detail"]


# --- several requests at once -----------------------------------------------------------


async def test_batches_and_single_claims_race_for_the_same_keys(pair: tuple[House, House]) -> None:
    house = pair[0]
    workers = [house.app, await house.open_worker()]
    claims = [one(n) for n in range(90)]
    backwards = claims[::-1]
    answers: list[Any] = await asyncio.gather(
        send(house, claims, workers[0]),
        send(house, backwards, workers[0]),
        send(house, claims, workers[1]),
        *(send_alone(house, claim, workers[n % 2]) for n, claim in enumerate(claims)),
    )
    flat = [*answers[0], *answers[1], *answers[2], *answers[3:]]
    assert {result["status"] for result in flat} == {201}
    claims_of_key: dict[str, set[str]] = {}
    for result in flat:
        claims_of_key.setdefault(result["idempotency_key"], set()).add(result["claim"]["claim_id"])
    assert {len(ids) for ids in claims_of_key.values()} == {1}
    news = Counter(result["idempotency_key"] for result in flat if not result["replayed"])
    assert set(news.values()) == {1} and len(news) == 90
    (pool,) = await house.sql("SELECT confirmed_fen FROM pool WHERE pool = 'appliances'")
    assert pool["confirmed_fen"] == 90 * SUBSIDY_FEN


async def test_batches_race_for_a_pool_that_holds_fifty(pair: tuple[House, House]) -> None:
    house = pair[0]
    workers = [house.app, await house.open_worker()]
    await set_budget(house, 50 * SUBSIDY_FEN + 1)
    await asyncio.sleep(1.2)  # the other worker hears of the budget within half a second
    answers = await asyncio.gather(
        *(
            send(house, [one(n) for n in range(start, start + 70)], workers[start // 70 % 2])
            for start in range(0, 280, 70)
        )
    )
    statuses = Counter(result["status"] for results in answers for result in results)
    assert statuses == {201: 50, 409: 230}
    (pool,) = await house.sql("SELECT confirmed_fen FROM pool WHERE pool = 'appliances'")
    assert pool["confirmed_fen"] == 50 * SUBSIDY_FEN
    await house.quiet()


# --- faults -----------------------------------------------------------------------------


@pytest.fixture
async def far(
    hurried: None, database_url: str, engine_urls: Engines, tmp_path: Path
) -> AsyncIterator[tuple[House, Proxy]]:
    """A house that reaches PostgreSQL through a proxy, with production's patience."""
    async with (
        proxied(database_url) as (proxy, url),
        open_house(url, engine_urls.redis_url, tmp_path, answer_within_ms=800) as house,
    ):
        yield house, proxy


async def until_definite(house: House, claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send the batch until no result is a 503."""
    while True:
        results = await send(house, claims)
        if {result["status"] for result in results} == {201}:
            return results
        problems = [result["problem"] for result in results if result["status"] != 201]
        assert all(problem["retryable"] for problem in problems), problems
        await asyncio.sleep(0.05)


async def test_a_ledger_that_dies_in_the_middle_of_a_batch_loses_no_answered_claim(
    far: tuple[House, Proxy], database_url: str
) -> None:
    house, proxy = far
    await until_definite(house, [one(1000)])
    connection = await asyncpg.connect(database_url)
    claims = [one(n) for n in range(2 * TOGETHER_MAX)]
    batch = asyncio.create_task(send(house, claims))
    while await connection.fetchval("SELECT count(*) FROM claim") < 1 + TOGETHER_MAX:
        await asyncio.sleep(0.001)
    proxy.cut()
    proxy.swallows = True
    first = await batch
    proxy.swallows = False
    assert {result["status"] for result in first} <= {201, 503}
    granted = {r["idempotency_key"]: r["claim"] for r in first if r["status"] == 201}
    in_ledger = {
        row[0]: str(row[1])
        for row in await connection.fetch("SELECT idempotency_key, claim_id FROM claim")
    }
    assert {key: claim["claim_id"] for key, claim in granted.items()}.items() <= in_ledger.items()
    again = await until_definite(house, claims)
    for result in again:
        key = result["idempotency_key"]
        assert granted.get(key, result["claim"]) == result["claim"]
    await house.quiet()
    rows = await connection.fetch("SELECT count(*), count(DISTINCT idempotency_key) FROM claim")
    assert tuple(rows[0]) == (len(claims) + 1,) * 2
    await connection.close()


async def test_a_batch_that_gets_no_answer_in_time_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await house.open_worker(answer_within_ms=100)
    go_on = asyncio.Event()
    commit = Ledger.commit

    async def slow(ledger: Ledger, *args: Any, **options: Any) -> Any:
        await go_on.wait()
        return await commit(ledger, *args, **options)

    monkeypatch.setattr(Ledger, "commit", slow)
    bad = one(99, items=[item_json(serial_no=serial(99), energy_grade="3")])
    results = await send(house, [one(1), one(2), bad], worker)
    codes = [result["problem"]["code"] for result in results]
    assert codes == ["ledger_unavailable"] * 3
    go_on.set()
    await worker.state.service.claims.path.drain()
    results = await send(house, [one(1), one(2), bad], worker)
    assert [(r["status"], r["replayed"]) for r in results] == [
        (201, True),
        (201, True),
        (409, False),
    ]


async def test_a_client_that_hangs_up_leaves_its_claims_to_be_decided(house: House) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await send(house, [one(n) for n in range(300)])
    await house.quiet()
    (row,) = await house.sql("SELECT count(*) FROM claim")
    assert row[0] in (0, 300)  # none, if it hung up before the batch was read
    results = await send(house, [one(n) for n in range(300)])
    assert {result["status"] for result in results} == {201}


async def test_without_a_gate_that_is_required_each_claim_of_a_batch_is_a_503(
    gateless_house: House,
) -> None:
    worker = await gateless_house.open_worker(gate_mode="refuse")
    results = await send(gateless_house, [one(1), one(2, store_id="OT0001"), one(3)], worker)
    assert [result["problem"]["code"] for result in results] == [
        "gate_unavailable",
        "foreign_store",
        "gate_unavailable",
    ]
    assert await gateless_house.footprint_rows() == 0


async def test_a_full_queue_refuses_a_batch_and_keeps_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert QUEUE_MAX > 2 * TOGETHER_MAX  # a batch has room, also if another one waits
    monkeypatch.setattr("service.claims.path.QUEUE_MAX", TOGETHER_MAX)
    worker = await house.open_worker()
    results = await send(house, [one(n) for n in range(2 * TOGETHER_MAX)], worker)
    statuses = Counter(result["status"] for result in results)
    assert statuses == {201: TOGETHER_MAX, 503: TOGETHER_MAX}
    assert {r["problem"]["code"] for r in results if r["status"] == 503} == {"overloaded"}
    (row,) = await house.sql("SELECT count(*) FROM claim")
    assert row[0] == statuses[201]


async def test_a_bug_in_one_claim_is_its_500_and_the_others_are_granted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(book: Any, checkout: Any, now: Any) -> Any:
        if checkout.items[0].serial_no == one(1)["checkout"]["items"][0]["serial_no"]:
            raise RuntimeError("a bug of ours")
        return quote(book, checkout, now)

    with monkeypatch.context() as patch:
        patch.setattr("service.claims.path.quote", broken)
        results = await send(house, [one(0), one(1), one(2)])
    assert [result["status"] for result in results] == [201, 500, 201]
    assert results[1]["problem"]["code"] == "internal_error"
    assert not house.service.claims.path.under_way("sandbox", "k1")
    assert {result["status"] for result in await send(house, [one(1)])} == {201}


async def test_lines_bound_a_group_as_claims_do(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.claims.path.LINES_MAX", 7)
    sizes: list[int] = []
    decide = ClaimPath._decide_together

    async def noting(path: ClaimPath, flights: Any) -> None:
        sizes.append(len(flights))
        await decide(path, flights)

    monkeypatch.setattr(ClaimPath, "_decide_together", noting)
    results = await send(house, [one(n) for n in range(16)])
    assert {result["status"] for result in results} == {201}
    assert sizes == [7, 7, 2]


async def test_a_gate_that_goes_away_between_two_batches_is_passed_by(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: Any, **options: Any) -> Any:
        raise GateAway

    monkeypatch.setattr(Gate, "_call", away)
    worker = await house.open_worker()
    results = await send(house, [one(n) for n in range(70)] + [one(70, "k0")], worker)
    assert [result["status"] for result in results] == [201] * 70 + [422]
    (pool,) = await house.sql("SELECT bypasses FROM pool WHERE pool = 'appliances'")
    assert pool["bypasses"] > 0
