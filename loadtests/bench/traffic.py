"""Load as tills make it, from a process that costs little: it shares the machine with what it
measures. Plain asyncio protocols on uvloop; requests are made before the clock starts."""

import asyncio
import json
import multiprocessing
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import cast

import uvloop

from tests.builders import checkout_json, item_json, resident_id, serial

# A till that waits longer has given up: the run is cut off, and says so.
DRAIN_S = 10.0
WARM_UP_S = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and what it takes to ask it for a claim."""

    port: int
    sold_at: str
    key: str


@dataclass(slots=True)
class Outcome:
    """What came of a run. `seconds` is the time of each answer after the warm-up."""

    elapsed_s: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    unanswered: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.elapsed_s


def claim_body(n: int, sold_at: str, **item: object) -> dict[str, object]:
    """A claim by a person of their own, for goods of their own. A subsidy of 2 yuan: the
    sandbox's budget lasts for ten million of them."""
    million, person = divmod(n, 1_000_000)
    birth_on = date(1950, 1, 1) + timedelta(days=million)
    return checkout_json(
        sold_at=sold_at,
        order_no=f"L{n}",
        consumer={"id_type": "resident_id", "id_number": resident_id(person, f"{birth_on:%Y%m%d}")},
        items=[item_json(**{"serial_no": serial(n), "price_fen": 1_000, **item})],
    )


def http_post(path: str, key: str, idempotency_key: str, body: bytes) -> bytes:
    """A request's bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nIdempotency-Key: {idempotency_key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def claim_requests(target: Target, numbers: Sequence[int], **item: object) -> list[bytes]:
    """One claim for each number, ready to send."""
    return [
        http_post(
            "/v1/claims",
            target.key,
            f"L{n}",
            json.dumps(claim_body(n, target.sold_at, **item)).encode(),
        )
        for n in numbers
    ]


class Till(asyncio.Protocol):
    """One connection: an answer is awaited before the next request leaves."""

    def __init__(self, on_answer: Callable[["Till", int], None], on_lost: Callable[[], None]):
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._buffer = b""
        self._whole = 0
        self.busy = False
        self.asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes, asked_at: float) -> None:
        self.busy = True
        self.asked_at = asked_at
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        if not self._whole:
            head = buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            at = buffer.lower().index(b"content-length: ", 0, head + 2) + 16
            self._whole = head + 4 + int(buffer[at : buffer.index(b"\r\n", at)])
        if len(buffer) >= self._whole:
            self._buffer, self._whole, self.busy = b"", 0, False
            self._on_answer(self, int(buffer[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        if self.busy:
            self._on_lost()


@dataclass(slots=True)
class Run:
    """One run of one kind of load against one server."""

    requests: Iterator[bytes]
    outcome: Outcome = field(default_factory=Outcome)
    counting: bool = False
    lost: int = 0

    def note(self, till: Till, status: int, now: float) -> None:
        if self.counting:
            self.outcome.statuses[status] += 1
            self.outcome.seconds.append(now - till.asked_at)

    def lose(self) -> None:
        self.lost += 1


async def _connect(
    run: Run, port: int, count: int, answered: Callable[[Till, int], None]
) -> list[Till]:
    loop = asyncio.get_running_loop()
    tills = []
    for _ in range(count):
        _, till = await loop.create_connection(lambda: Till(answered, run.lose), "127.0.0.1", port)
        tills.append(till)
    return tills


async def closed_loop(
    port: int, requests: Sequence[bytes], connections: int, seconds: float
) -> Outcome:
    """Each connection asks again as soon as it is answered, until the time is up."""
    run = Run(iter(requests))
    going = True

    def answered(till: Till, status: int) -> None:
        now = time.perf_counter()
        run.note(till, status, now)
        if going and (request := next(run.requests, None)) is not None:
            till.ask(request, now)

    tills = await _connect(run, port, connections, answered)
    for till in tills:
        till.ask(next(run.requests), time.perf_counter())
    await asyncio.sleep(WARM_UP_S)
    run.counting, began = True, time.perf_counter()
    await asyncio.sleep(seconds)
    run.counting, run.outcome.elapsed_s = False, time.perf_counter() - began
    going = False
    await _hang_up(run, tills)
    assert next(run.requests, None) is not None, "Too few requests were made for this rate."
    return run.outcome


async def open_loop(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, per_s: float
) -> Outcome:
    """Requests come at this rate whatever becomes of the earlier ones; an answer's time counts
    from when the request was due, so that a server that falls behind cannot hide it."""
    run = Run(iter(requests))
    free: deque[Till] = deque()
    due: deque[float] = deque()

    def answered(till: Till, status: int) -> None:
        run.note(till, status, time.perf_counter())
        if due:
            till.ask(next(run.requests), due.popleft())
        else:
            free.append(till)

    tills = await _connect(run, port, connections, answered)
    free.extend(tills)
    began = time.perf_counter()
    sent, whole = 0, int(per_s * (WARM_UP_S + seconds))
    while sent < whole:
        now = time.perf_counter()
        run.counting = now - began >= WARM_UP_S
        while sent < whole and began + sent / per_s <= now:
            at = began + sent / per_s
            if free:
                free.popleft().ask(next(run.requests), at)
            else:
                due.append(at)
            sent += 1
        await asyncio.sleep(0.001)
    run.outcome.elapsed_s = time.perf_counter() - began - WARM_UP_S
    run.outcome.unanswered = len(due) + sum(till.busy for till in tills)
    due.clear()
    await _hang_up(run, tills)
    return run.outcome


async def _hang_up(run: Run, tills: Sequence[Till]) -> None:
    until = time.perf_counter() + DRAIN_S
    while any(till.busy for till in tills) and time.perf_counter() < until:
        await asyncio.sleep(0.01)
    assert not run.lost and not any(till.busy for till in tills), "The server left tills waiting."
    for till in tills:
        till.transport.close()


def _in_child(pipe, make_requests, drive, port, args) -> None:  # type: ignore[no-untyped-def]
    requests = make_requests()
    pipe.send("ready")
    pipe.recv()
    pipe.send(uvloop.run(drive(port, requests, *args)))


class Load:
    """A load generator in a process of its own: made ready first, then let go."""

    def __init__(self, make_requests, drive, port, *args) -> None:  # type: ignore[no-untyped-def]
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_in_child, args=(theirs, make_requests, drive, port, args), daemon=True
        )
        self._process.start()
        assert self._pipe.recv() == "ready"

    def go(self) -> None:
        self._pipe.send("go")

    def wait(self) -> Outcome:
        """What came of it. Raises EOFError when the generator failed; its traceback says why."""
        outcome = cast(Outcome, self._pipe.recv())
        self._process.join()
        return outcome
