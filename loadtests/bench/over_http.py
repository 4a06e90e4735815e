"""The rows over HTTP: claims, refusals, batches."""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import asyncpg
import redis

from loadtests.apps import row_lock
from loadtests.bench.contest import Row, Sample
from loadtests.bench.servers import Server, app, sandbox
from loadtests.bench.traffic import (
    Load,
    Outcome,
    Target,
    claim_body,
    claim_requests,
    closed_loop,
    http_post,
    open_loop,
)
from service.embedded import engines, postgres, valkey
from tests.builders import serial

CONNECTIONS = 256
# More than any of these servers can answer.
REQUESTS_PER_S = 9_000
BATCH = 250
BATCH_CONNECTIONS = 8

_numbers = count(step=1_000_000)


def measured(
    server: Server,
    make: Callable[[], list[bytes]],
    status: int,
    *,
    connections: int,
    seconds: float,
) -> Sample:
    """Put closed-loop load on a server. Raises AssertionError unless every answer has `status`."""
    load = Load(make, closed_loop, server.target.port, connections, seconds)
    before = server.cpu_seconds()
    load.go()
    outcome = load.wait()
    after = server.cpu_seconds()
    assert set(outcome.statuses) == {status}, f"Answers other than {status}: {outcome.statuses}"
    # The CPU seconds include the warm-up, so its answers are counted as well.
    answered = outcome.rate * (seconds + 1)
    return Sample(
        outcome.rate,
        p50_ms=at(outcome, 50),
        p95_ms=at(outcome, 95),
        p99_ms=at(outcome, 99),
        cpu_s={part: (after[part] - before[part]) / answered * 1000 for part in after},
    )


def at(outcome: Outcome, percent: int) -> float:
    """This percentile of the answers' times, in milliseconds."""
    return statistics.quantiles(outcome.seconds, n=100)[percent - 1] * 1000


def claims(
    server: Server, seconds: float, *, status: int = 201, connections: int = CONNECTIONS
) -> Sample:
    first = next(_numbers)
    numbers = range(first, first + int(REQUESTS_PER_S * (seconds + 1)))
    make = partial(claim_requests, server.target, numbers)
    return measured(server, make, status, connections=connections, seconds=seconds)


# --- the servers ------------------------------------------------------------------------


@contextmanager
def ours(folder: Path, *, workers: int = 1) -> Iterator[Server]:
    with sandbox(folder, workers=workers) as server:
        asyncio.run(check_durable(str(postgres.running_url(folder))))
        yield server


@contextmanager
def textbook(folder: Path, sold_at: str, *, workers: int) -> Iterator[Server]:
    with engines(folder) as urls:
        asyncio.run(check_durable(urls.database_url))
        asyncio.run(row_lock.make_tables(urls.database_url))
        url = urls.database_url
        with app("row_lock", sold_at, workers=workers, ROW_LOCK_DATABASE_URL=url) as server:
            yield server


async def check_durable(database_url: str) -> None:
    """Raise AssertionError if a commit of this database might not survive a power cut."""
    connection = await asyncpg.connect(database_url)
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        assert await connection.fetchval(f"SHOW {name}") == "on", f"{name} is off."
    await connection.close()


async def statements(database_url: str) -> int:
    """The number of transactions that have ended in this database."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("SELECT pg_stat_force_next_flush()")
    ended = await connection.fetchval(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database "
        "WHERE datname = current_database()"
    )
    await connection.close()
    return int(ended)


async def execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(statement)
    await connection.close()


# --- the rows ---------------------------------------------------------------------------


def one_worker(folder: Path, rounds: int, seconds: float, connections: int = CONNECTIONS) -> Row:
    """The bar is for 256 connections."""
    row = Row(
        f"claims, durable, 1 worker, {connections} connections",
        "claims/s",
        "Butie",
        "no-I/O route of FastAPI, same models",
        1.0 if connections == CONNECTIONS else None,
    )
    with ExitStack() as stack:
        server = stack.enter_context(ours(folder / "one"))
        yardstick = stack.enter_context(app("no_io", server.target.sold_at))
        return row.rounds(
            rounds,
            lambda: claims(server, seconds, connections=connections),
            lambda: claims(yardstick, seconds, connections=connections),
        )


def two_workers(folder: Path, rounds: int, seconds: float) -> Row:
    row = Row(
        "claims, durable, 2 workers, 256 connections",
        "claims/s",
        "Butie",
        "row lock, a transaction a claim",
        10.0,
    )
    with ExitStack() as stack:
        server = stack.enter_context(ours(folder / "two", workers=2))
        other = stack.enter_context(textbook(folder / "textbook", server.target.sold_at, workers=2))
        return row.rounds(rounds, lambda: claims(server, seconds), lambda: claims(other, seconds))


def refusals(folder: Path, rounds: int, seconds: float) -> Row:
    row = Row(
        "refusals, pool empty, 1 worker, 256 connections",
        "refusals/s",
        "Butie",
        "no-I/O route of FastAPI, same models",
        1.0,
    )
    with ExitStack() as stack:
        server = stack.enter_context(ours(folder / "empty"))
        yardstick = stack.enter_context(app("no_io", server.target.sold_at))
        url = str(postgres.running_url(folder / "empty"))
        asyncio.run(
            execute(url, "UPDATE pool SET allocated_fen = spent_fen, version = version + 1")
        )
        # The gate looks as if it had been up for an hour. A younger gate asks the ledger first.
        gate = redis.from_url(str(valkey.running_url(folder / "empty")))
        time.sleep(2)
        gate.hset("butie:{330402}:memory", "since", int((time.time() - 3600) * 1000))

        def refused() -> Sample:
            before = asyncio.run(statements(url))
            sample = claims(server, seconds, status=409)
            sent = asyncio.run(statements(url)) - before
            answered = sample.value * (seconds + 1)
            row.remarks.append(
                f"{sent} transactions in PostgreSQL during {answered:,.0f} refusals (those of the "
                "sweeper and the directory, which run every second or so)"
            )
            return sample

        return row.rounds(rounds, refused, lambda: claims(yardstick, seconds))


def batches(folder: Path, rounds: int, seconds: float) -> Row:
    row = Row(
        f"claims through /v1/claims/batch, {BATCH} each, {BATCH_CONNECTIONS} connections",
        "claims/s",
        "Butie, in batches",
        "Butie, one by one, 256 connections",
        3.0,
    )
    with ours(folder / "batch") as server:
        return row.rounds(rounds, lambda: batched(server, seconds), lambda: claims(server, seconds))


def batched(server: Server, seconds: float) -> Sample:
    """Claims a second through batches of BATCH."""
    first = next(_numbers)
    make = partial(batch_requests, server.target, first, int(100 * (seconds + 1)))
    sample = measured(server, make, 200, connections=BATCH_CONNECTIONS, seconds=seconds)
    sample.value *= BATCH
    sample.cpu_s = {part: cpu_s / BATCH for part, cpu_s in sample.cpu_s.items()}
    return sample


def batch_requests(target: Target, first: int, requests: int) -> list[bytes]:
    """So many requests of BATCH claims each, as bytes; the claims are numbered from `first`."""
    posts = []
    for start in range(first, first + requests * BATCH, BATCH):
        batch = [
            {"idempotency_key": f"L{n}", "checkout": claim_body(n, target.sold_at)}
            for n in range(start, start + BATCH)
        ]
        body = json.dumps({"claims": batch}).encode()
        posts.append(http_post("/v1/claims/batch", target.key, "none", body))
    return posts


def hostile(folder: Path, rounds: int, seconds: float) -> Row:
    """Half of the connections claim serials that the ledger has and the gate has forgotten. So each
    of their claims violates a constraint in a batch that it shares with honest ones."""
    row = Row(
        "honest claims, 128 connections, with 128 hostile ones",
        "claims/s",
        "with a stream of violating claims",
        "alone",
        0.5,
    )
    with ours(folder / "hostile") as server:
        taken = range(first := next(_numbers), first + 20_000)
        spend = Load(
            lambda: claim_requests(server.target, taken), closed_loop, server.target.port, 64, 2.0
        )
        spend.go()
        claimed = int(spend.wait().rate * 2)
        redis.from_url(str(valkey.running_url(folder / "hostile"))).flushall()

        def attacked() -> Sample:
            load = Load(
                partial(violating, server.target, taken[:claimed], int(5000 * (seconds + 1))),
                closed_loop,
                server.target.port,
                128,
                seconds,
            )
            load.go()
            sample = claims(server, seconds, connections=128)
            statuses = load.wait().statuses
            row.remarks.append(f"answers to the hostile claims, by status: {dict(statuses)}")
            return sample

        return row.rounds(rounds, attacked, lambda: claims(server, seconds, connections=128))


def violating(target: Target, taken: Sequence[int], requests: int) -> list[bytes]:
    """So many claims, as bytes, for serial numbers that are claimed already."""
    posts = []
    for n in range(start := next(_numbers), start + requests):
        body = claim_body(n, target.sold_at, serial_no=serial(taken[n % len(taken)]))
        posts.append(http_post("/v1/claims", target.key, f"H{n}", json.dumps(body).encode()))
    return posts


def refill(folder: Path, rounds: int, seconds: float) -> Row:
    """The time from a FLUSHALL under load until the gate has its pools again."""
    row = Row(
        "an emptied gate back in service, under load", "s", "Butie", "1 second", 1.0, inverse=True
    )
    with ours(folder / "refill") as server:
        gate = redis.from_url(str(valkey.running_url(folder / "refill")))

        def emptied() -> Sample:
            first = next(_numbers)
            make = partial(claim_requests, server.target, range(first, first + 30_000))
            load = Load(make, closed_loop, server.target.port, 64, 2.0)
            load.go()
            time.sleep(2.0)
            gate.flushall()
            began = time.perf_counter()
            while not gate.hget("butie:{330402}:pool:appliances", "version"):
                time.sleep(0.001)
            took = time.perf_counter() - began
            assert set(load.wait().statuses) == {201}
            return Sample(took)

        return row.rounds(rounds, emptied, lambda: Sample(1.0))


# --- latency against offered load -------------------------------------------------------


def offered(
    folder: Path, rates: Sequence[int], seconds: float
) -> dict[str, list[dict[str, float]]]:
    """p50 and p99 by the rate of requests. Requests keep coming when answers are late."""
    curves: dict[str, list[dict[str, float]]] = {"Butie": [], "no-I/O": []}
    with ExitStack() as stack:
        server = stack.enter_context(ours(folder / "offered"))
        yardstick = stack.enter_context(app("no_io", server.target.sold_at))
        for per_s in rates:
            for name, loaded in (("Butie", server), ("no-I/O", yardstick)):
                first = next(_numbers)
                numbers = range(first, first + int(per_s * (seconds + 1)) + CONNECTIONS)
                load = Load(
                    partial(claim_requests, loaded.target, numbers),
                    open_loop,
                    loaded.target.port,
                    CONNECTIONS,
                    seconds,
                    float(per_s),
                )
                load.go()
                outcome = load.wait()
                curves[name].append(
                    {
                        "offered": per_s,
                        "answered": outcome.rate,
                        "p50_ms": at(outcome, 50),
                        "p99_ms": at(outcome, 99),
                    }
                )
    return curves
