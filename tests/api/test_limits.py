"""Limits: how often, how many at once, how large, how slow; and what a fault looks like."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import redis as sync_redis
import uvicorn

from service.api.app import bounds_of
from service.api.bounds import BODY_S, Bound, Bounds
from service.server import protocol
from service.server.protocol import GuardedProtocol
from tests.builders import item_json, resident_id, serial
from tests.conftest import House

pytestmark = pytest.mark.anyio


# --- how often --------------------------------------------------------------------------


# A token in 100 s, slower than the settings allow: a busy machine fills no bucket meanwhile.
SLOW: dict[str, Any] = {"rate_limit_per_s": 0.01}


async def test_a_key_that_calls_too_often_is_told_when_to_come_back(house: House) -> None:
    app = await house.open_worker(**SLOW, rate_limit_burst=3)
    async with house.client("bureau", app) as client:
        answers = [await client.get("/v1/budgets") for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    last = answers[-1]
    assert last.json()["code"] == "too_many_requests"
    assert 1 <= int(last.headers["retry-after"]) <= 100
    assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=300'
    assert answers[0].headers["ratelimit"].startswith('"key";r=2;t=')
    assert last.headers["ratelimit"].startswith('"key";r=0;t=')


async def test_each_key_has_a_bucket_and_all_workers_share_it(house: House) -> None:
    workers = [await house.open_worker(**SLOW, rate_limit_burst=4) for _ in range(2)]
    statuses = [(await house.claim(f"k{n}", app=workers[n % 2])).status_code for n in range(6)]
    assert statuses.count(429) == 2
    async with house.client("bureau", workers[0]) as client:
        assert (await client.get("/v1/budgets")).status_code == 200


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        ("pos", "GET", "/v1/claims"),
        ("finance", "GET", "/v1/settlements"),
        ("finance", "POST", "/v1/settlements/019780c3-c9da-76f1-8a29-36f05201f175/approve"),
        (
            "finance",
            "POST",
            "/v1/reconciliations?from=2025-06-18&to=2025-06-18&claim_id=c&amount=a",
        ),
        ("bureau", "GET", "/v1/budgets"),
        ("admin", "GET", "/v1/retailers"),
    ],
)
async def test_a_request_counts_once_against_its_keys_rate(
    house: House, role: str, method: str, path: str
) -> None:
    app = await house.open_worker(**SLOW, rate_limit_burst=10)
    async with house.client(role, app) as client:
        answer = await client.request(method, path)
    assert answer.headers["ratelimit"].startswith('"key";r=9;')


async def test_strangers_leave_no_buckets_behind(house: House) -> None:
    app = await house.open_worker(rate_limit_per_s=1)
    house.keys["stranger"] = "butie_nobody"
    async with house.client("stranger", app) as client:
        for _ in range(3):
            assert (await client.get("/v1/budgets")).status_code == 401
    gate = sync_redis.from_url(str(house.settings.redis_url))
    assert list(gate.scan_iter("*rate:*")) == []


async def test_without_redis_no_request_is_held_back(gateless_house: House) -> None:
    app = await gateless_house.open_worker(rate_limit_per_s=1, rate_limit_burst=1)
    async with gateless_house.client("bureau", app) as client:
        assert {(await client.get("/v1/budgets")).status_code for _ in range(3)} == {200}


# --- how many at once -------------------------------------------------------------------


async def test_requests_over_the_limit_are_turned_away_early(house: House) -> None:
    app = await house.open_worker(requests_max=5)
    service = app.state.service
    enough = asyncio.Event()
    commit = service.claims.ledger.commit

    async def commit_later(*args: Any, **how: Any) -> Any:
        await enough.wait()
        return await commit(*args, **how)

    def claim(n: int) -> Any:
        person = {"id_type": "resident_id", "id_number": resident_id(n)}
        return house.claim(
            f"k{n}", app=app, consumer=person, items=[item_json(serial_no=serial(n))]
        )

    assert (await claim(9)).status_code == 201  # key and store are known now
    service.claims.ledger.commit = commit_later
    waiting = [asyncio.create_task(claim(n)) for n in range(5)]
    while app.middleware_stack._under_way < 5:
        await asyncio.sleep(0.01)
    turned_away = await claim(5)
    assert (turned_away.status_code, turned_away.json()["code"]) == (503, "overloaded")
    assert turned_away.headers["retry-after"] == "1"
    async with house.client(app=app) as client:
        assert (await client.get("/healthz")).status_code == 200
    enough.set()
    assert {(await one).status_code for one in waiting} == {201}


async def test_a_bug_is_a_problem_with_its_request_id_and_tells_nothing(house: House) -> None:
    async def broken(*args: object) -> None:
        raise RuntimeError("a bug of ours")

    house.service.claims.path.claim = broken  # type: ignore[method-assign]
    house.service.claims.lifecycle.claim = broken  # type: ignore[method-assign]
    answers = [await house.claim("k1")]
    async with house.client() as client:
        answers.append(await client.get("/v1/claims/019780c3-c9da-76f1-8a29-36f05201f175"))
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "bug of ours" not in answer.text


# --- the socket -------------------------------------------------------------------------


@pytest.fixture
async def port(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server with short patience in front of the house's app."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.4)
    hurried = Bounds(
        Bound(65_536, body_s=0.4),
        {"/v1/claims/{claim_id}/refunds": Bound(100_000, body_s=60)},
        requests_max=1000,
        hot=["/v1/claims"],
    )
    monkeypatch.setattr(house.app.middleware_stack, "bounds", hurried)
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 20)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        house.app,
        http=GuardedProtocol,
        lifespan="off",
        log_config=None,
        server_header=False,
        proxy_headers=False,  # as the service runs: with it the app is wrapped, and has no bounds
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.02)
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving


def talk(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send the parts, and read until the other side hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
        except OSError:
            pass  # it hung up on us: what it said may still be read
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except OSError:
            pass
    return answer


HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


async def test_what_is_no_http_is_answered_with_a_problem(house: House, port: int) -> None:
    answer = await asyncio.to_thread(talk, port, b"\x16\x03\x01 nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert b"x-request-id" in answer


async def test_a_control_character_in_a_header_is_told_in_the_tills_language(
    house: House, port: int
) -> None:
    for language, words in ((b"en", "control character"), (b"zh-CN", "控制字符")):
        head = HEAD + b"Accept-Language: " + language + b"\r\nIdempotency-Key: a\x01b\r\n\r\n"
        answer = await asyncio.to_thread(talk, port, head)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert words in answer.decode()


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X-Big: " + b"a" * 40_000 + b"\r\n\r\n",
        HEAD + b"X-Big: " + b"a" * 200_000,
        HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(5_000)) + b"\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_a_header_that_is_too_large_is_refused(house: House, port: int, head: bytes) -> None:
    answer = await asyncio.to_thread(talk, port, head)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"head_too_large"' in answer


async def test_a_slow_head_is_cut_off(house: House, port: int) -> None:
    """A slow loris: a byte now and then, for ever."""
    parts = [HEAD[n : n + 1] for n in range(len(HEAD))]
    answer = await asyncio.to_thread(talk, port, *parts, pause_s=0.05)
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_connection_that_says_nothing_is_closed(house: House, port: int) -> None:
    assert await asyncio.to_thread(talk, port) == b""


async def test_a_slow_body_is_cut_off_and_leaves_nothing(house: House, port: int) -> None:
    before = await house.footprint()
    head = (
        "POST /v1/claims HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nIdempotency-Key: k\r\n"
        f"Authorization: Bearer {house.keys['pos']}\r\n\r\n"
    )
    answer = await asyncio.to_thread(talk, port, head.encode(), b'{"store_id"')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert await house.footprint() == before


async def test_a_route_with_bounds_of_its_own_may_take_longer_and_bring_more(
    house: House, port: int
) -> None:
    nowhere = "/v1/claims/019780c3-c9da-76f1-8a29-36f05201f175/refunds"

    def post(path: str, *body: bytes, pause_s: float = 0.0) -> bytes:
        head = (
            f"POST {path}?slowly=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Length: {sum(map(len, body))}\r\nIdempotency-Key: k\r\n"
            f"Authorization: Bearer {house.keys['pos']}\r\n\r\n"
        )
        return talk(port, head.encode(), *body, pause_s=pause_s)

    parts = (b'{"lines": [1], ', b'"reason": "r"}')
    slow = [asyncio.to_thread(post, path, *parts, pause_s=1) for path in (nowhere, "/v1/quotes")]
    own, usual = await asyncio.gather(*slow)
    assert own.startswith(b"HTTP/1.1 404 ")
    assert usual.startswith(b"HTTP/1.1 408 ")
    large = b" " * 80_000
    assert (await asyncio.to_thread(post, nowhere, large)).startswith(b"HTTP/1.1 400 ")
    assert (await asyncio.to_thread(post, "/v1/quotes", large)).startswith(b"HTTP/1.1 413 ")


async def test_connections_have_a_bound(house: House, port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    await asyncio.sleep(0.1)
    answer = await asyncio.to_thread(talk, port, HEAD + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 503 ") or answer == b""
    for connection in idle:
        connection.close()
    await asyncio.sleep(0.1)
    assert (await asyncio.to_thread(talk, port, HEAD + b"\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_no_answer_tells_what_serves_it(house: House, port: int) -> None:
    answer = await asyncio.to_thread(talk, port, HEAD + b"\r\n")
    assert b"server:" not in answer.lower()
    assert b"uvicorn" not in answer.lower()


async def test_answers_to_what_never_became_a_request_carry_the_safe_headers(
    house: House, port: int
) -> None:
    for sent in (b"nonsense\r\n\r\n", HEAD + b"X-Big: " + b"a" * 40_000 + b"\r\n\r\n", HEAD[:9]):
        answer = (await asyncio.to_thread(talk, port, sent)).lower()
        assert answer.startswith((b"http/1.1 400 ", b"http/1.1 431 ", b"http/1.1 408 "))
        for line in (
            b"x-content-type-options: nosniff",
            b"x-frame-options: deny",
            b"referrer-policy: no-referrer",
            b"content-security-policy: default-src 'none'",
            b"cache-control: no-store",
        ):
            assert line in answer


async def test_trailers_without_end_are_cut_off(house: House, port: int) -> None:
    """The head's bound holds for what comes after a chunked body, too."""
    head = (
        "POST /v1/claims HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        f"Idempotency-Key: k\r\nAuthorization: Bearer {house.keys['pos']}\r\n\r\n0\r\n"
    ).encode()
    trailers = b"".join(b"X-%d: y\r\n" % n for n in range(100_000))
    answer = await asyncio.to_thread(talk, port, head + trailers)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_the_docs_still_show_under_the_safe_headers(house: House) -> None:
    async with house.client() as client:
        page = await client.get("/docs")
    assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_a_batch_may_be_larger_than_a_claim(house: House) -> None:
    body = b" " * (house.settings.body_max_bytes + 1)
    async with house.client() as client:
        alone = await client.post("/v1/claims", content=body, headers={"Idempotency-Key": "k"})
        batch = await client.post("/v1/claims/batch", content=body)
    assert (alone.status_code, batch.status_code) == (413, 400)


def test_a_bound_holds_for_a_template_and_the_usual_one_for_all_else() -> None:
    usual, photo, batch = Bound(10), Bound(1000, body_s=90), Bound(160)
    bounds = Bounds(
        usual,
        {"/v1/claims/{claim_id}/photos": photo, "/v1/claims/batch": batch},
        requests_max=1,
        hot=["/v1/claims"],
    )
    assert bounds.of("/v1/claims/019780c3-c9da-76f1-8a29-36f05201f175/photos") is photo
    assert bounds.of("/v1/claims/batch") is batch
    for path in (
        "/v1/claims",
        "/v1/claims/x",
        "/v1/claims//photos",
        "/v1/claims/x/y/photos",
        "/v1/claims/x/photos/1",
        "/v2/v1/claims/x/photos",
        "",
    ):
        assert bounds.of(path) is usual, path


async def test_each_bound_is_that_of_a_route(house: House) -> None:
    """A route that gets another path would lose its bound silently."""
    bounds = bounds_of(house.settings)
    assert bounds.templates <= house.app.openapi()["paths"].keys()
    assert bounds.of("/v1/claims").body_max_bytes == house.settings.body_max_bytes
    assert bounds.of("/v1/reconciliations") == Bound(256 << 20, body_s=600, takes_gzip=True)
    assert bounds.of("/v1/settlements").body_s == BODY_S


async def test_callers_ids_that_could_be_a_persons_are_not_kept(house: House) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(house.app), base_url="http://test"
    ) as client:
        answer = await client.get("/healthz", headers={"X-Request-Id": "330402196003071233"})
    assert answer.headers["x-request-id"] != "330402196003071233"
