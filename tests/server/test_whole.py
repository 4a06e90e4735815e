"""A claim on the socket: in one piece or many, alone or behind another, plain or unusual."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import pytest
import uvicorn

from service.server.protocol import GuardedProtocol
from service.server.whole import WHOLE_MAX_BYTES, WholeRequest
from tests.builders import checkout_json, item_json, resident_id, serial
from tests.conftest import House

pytestmark = pytest.mark.anyio

KEEP_ALIVE_S = 1


@pytest.fixture
async def port(house: House) -> AsyncIterator[int]:
    """A server of the house's app."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        house.app,
        http=GuardedProtocol,
        lifespan="off",
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.02)
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[WholeRequest]:
    """The requests that were answered without ASGI."""
    seen: list[WholeRequest] = []
    answer = GuardedProtocol._answer

    async def noting(protocol: GuardedProtocol, request: WholeRequest) -> None:
        seen.append(request)
        await answer(protocol, request)

    monkeypatch.setattr(GuardedProtocol, "_answer", noting)
    return seen


def claim(
    house: House, n: int, *headers: str, version: str = "1.1", blanks: int = 0
) -> tuple[bytes, bytes]:
    """The head and the body of a claim."""
    body = json.dumps(
        checkout_json(
            order_no=f"O{n}",
            consumer={"id_type": "resident_id", "id_number": resident_id(n)},
            items=[item_json(serial_no=serial(n))],
        )
    ).encode()
    body += b" " * blanks
    head = (
        f"POST /v1/claims HTTP/{version}",
        "Host: x",
        f"Authorization: Bearer {house.keys['pos']}",
        f"Idempotency-Key: k{n}",
        *(headers or [f"Content-Length: {len(body)}"]),
    )
    return "\r\n".join((*head, "", "")).encode(), body


def talk(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send the parts, and read until the other side hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def statuses(answers: bytes) -> list[bytes]:
    return [piece[:3] for piece in answers.split(b"HTTP/1.1 ")[1:]]


async def test_a_claim_is_answered_without_asgi_and_its_connection_ends_when_idle(
    house: House, port: int, whole: list[WholeRequest]
) -> None:
    began = time.monotonic()
    answer = await asyncio.to_thread(talk, port, b"".join(claim(house, 1)))
    assert statuses(answer) == [b"201"]
    assert len(whole) == 1
    assert time.monotonic() - began >= KEEP_ALIVE_S
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body)["order_no"] == "O1"
    for line in (
        b"content-type: application/json",
        b"location: /v1/claims/",
        b"x-request-id: ",
        b"x-content-type-options: nosniff",
        b"content-security-policy: default-src 'none'",
        b"cache-control: no-store",
    ):
        assert head.count(line) == 1, line


async def test_a_claim_may_come_in_pieces(
    house: House, port: int, whole: list[WholeRequest]
) -> None:
    head, body = claim(house, 1)
    pieces = (head[:40], head[40:], body[:1], body[1:100], body[100:])
    answer = await asyncio.to_thread(talk, port, *pieces, pause_s=0.05)
    assert statuses(answer) == [b"201"]
    assert len(whole) == 1


async def test_claims_of_one_connection_are_answered_in_their_order(
    house: House, port: int, whole: list[WholeRequest]
) -> None:
    requests = [b"".join(claim(house, n)) for n in range(1, 6)]
    answers = await asyncio.to_thread(talk, port, b"".join(requests))
    assert statuses(answers) == [b"201"] * 5
    order = [answers.index(f'"order_no":"O{n}"'.encode()) for n in range(1, 6)]
    assert order == sorted(order)
    one_after_another = [b"".join(claim(house, n)) for n in range(6, 9)]
    before = len(whole)
    answers = await asyncio.to_thread(talk, port, *one_after_another, pause_s=0.3)
    assert statuses(answers) == [b"201"] * 3
    assert len(whole) == before + 3


async def test_the_connection_is_closed_when_the_till_asks_for_it(house: House, port: int) -> None:
    head, body = claim(house, 1)
    head = head.replace(b"Host: x", b"Host: x\r\nConnection: close")
    began = time.monotonic()
    answer = await asyncio.to_thread(talk, port, head + body)
    assert statuses(answer) == [b"201"]
    assert b"\r\nconnection: close\r\n" in answer
    assert time.monotonic() - began < KEEP_ALIVE_S


@pytest.mark.parametrize("unusual", ["expect", "chunked", "old", "query", "large"])
async def test_an_unusual_request_goes_through_asgi_and_has_the_same_answer(
    house: House, port: int, whole: list[WholeRequest], unusual: str
) -> None:
    head, body = claim(house, 1, blanks=WHOLE_MAX_BYTES if unusual == "large" else 0)
    if unusual == "expect":
        head = head.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")
    if unusual == "chunked":
        head, _ = claim(house, 1, "Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    if unusual == "old":
        head = head.replace(b"HTTP/1.1", b"HTTP/1.0")
    if unusual == "query":
        head = head.replace(b"/v1/claims ", b"/v1/claims?x=1 ")
    answer = await asyncio.to_thread(talk, port, head, body, pause_s=0.1)
    assert statuses(answer) == ([b"100", b"201"] if unusual == "expect" else [b"201"])
    assert whole == []


async def test_a_till_that_hangs_up_leaves_its_claim(house: House, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"".join(claim(house, 1)))
    async with asyncio.timeout(5):
        while not await house.sql("SELECT FROM claim"):
            await asyncio.sleep(0.05)


async def test_a_head_that_is_refused_does_not_repeat_the_request_before_it(
    house: House, port: int, whole: list[WholeRequest]
) -> None:
    first, second = (b"".join(claim(house, n)) for n in (1, 2))
    too_large = second.replace(b"Host: x", b"Host: x\r\nX-Big: " + b"a" * 33_000)
    answer = await asyncio.to_thread(talk, port, first, too_large, pause_s=0.3)
    assert statuses(answer) == [b"201", b"431"]
    assert len(whole) == 1
