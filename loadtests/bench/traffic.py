"""Load as tills make it. The generator shares the machine with the measured server, so it is cheap:
plain asyncio protocols on uvloop, and requests that are made before the clock starts."""

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

# A till would not wait longer: the run ends with an error.
DRAIN_S = 10.0
WARM_UP_S = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """A server's port, an instant that it accepts as `sold_at`, and a till's key."""

    port: int
    sold_at: str
    key: str


@dataclass(slots=True)
class Outcome:
    """The result of a run. `seconds` has the time of each answer after the warm-up."""

    elapsed_s: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    unanswered: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.elapsed_s


def claim_body(n: int, sold_at: str, **item: object) -> dict[str, object]:
    """A checkout with a person and a serial number that no other `n` has. The subsidy is 2 yuan, so
    the sandbox's budget is enough for ten million claims."""
    million, person = divmod(n, 1_000_000)
    birth_on = date(1950, 1, 1) + timedelta(days=million)
    return checkout_json(
        sold_at=sold_at,
        order_no=f"L{n}",
        consumer={"id_type": "resident_id", "id_number": resident_id(person, f"{birth_on:%Y%m%d}")},
        items=[item_json(**{"serial_no": serial(n), "price_fen": 1_000, **item})],
    )


def http_post(path: str, key: str, idempotency_key: str, body: bytes) -> bytes:
    """The bytes of a request."""
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


class TillConnection(asyncio.Protocol):
    """One connection. It sends the next request after the answer to the last one."""

    def __init__(
        self, on_answer: Callable[["TillConnection", int], None], on_lost: Callable[[], None]
    ) -> None:
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
    """The state of one run against one server."""

    requests: Iterator[bytes]
    outcome: Outcome = field(default_factory=Outcome)
    counting: bool = False
    lost: int = 0

    def note(self, till: TillConnection, status: int, now: float) -> None:
        if self.counting:
            self.outcome.statuses[status] += 1
            self.outcome.seconds.append(now - till.asked_at)

    def lose(self) -> None:
        self.lost += 1


async def connect_tills(
    run: Run, port: int, count: int, answered: Callable[[TillConnection, int], None]
) -> list[TillConnection]:
    loop = asyncio.get_running_loop()
    tills = []
    for _ in range(count):
        _, till = await loop.create_connection(
            lambda: TillConnection(answered, run.lose), "127.0.0.1", port
        )
        tills.append(till)
    return tills


async def closed_loop(
    port: int, requests: Sequence[bytes], connections: int, seconds: float
) -> Outcome:
    """Each connection sends the next request as soon as it has an answer, until the time is up."""
    run = Run(iter(requests))
    going = True

    def answered(till: TillConnection, status: int) -> None:
        now = time.perf_counter()
        run.note(till, status, now)
        if going and (request := next(run.requests, None)) is not None:
            till.ask(request, now)

    tills = await connect_tills(run, port, connections, answered)
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
    """Requests come at this rate, also when earlier ones have no answer yet. The time of an answer
    counts from when its request was due, so that a slow server cannot hide a queue."""
    run = Run(iter(requests))
    free: deque[TillConnection] = deque()
    due: deque[float] = deque()

    def answered(till: TillConnection, status: int) -> None:
        run.note(till, status, time.perf_counter())
        if due:
            till.ask(next(run.requests), due.popleft())
        else:
            free.append(till)

    tills = await connect_tills(run, port, connections, answered)
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


async def _hang_up(run: Run, tills: Sequence[TillConnection]) -> None:
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
    """A load generator in a process of its own. The constructor returns once it is ready."""

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
        """The outcome. Raises EOFError when the generator failed; its traceback says why."""
        outcome = cast(Outcome, self._pipe.recv())
        self._process.join()
        return outcome
