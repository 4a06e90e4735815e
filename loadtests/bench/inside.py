"""The rows without HTTP: the claim path called as a function, and writers of the ledger alone."""

import asyncio
import json
import logging
import math
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from uuid_utils.compat import uuid7

from loadtests.bench.contest import Row, Sample
from loadtests.bench.over_http import check_durable, execute
from loadtests.bench.servers import sandbox
from loadtests.bench.traffic import claim_body
from service.claims.claim import PendingClaim, Seller, SellerStanding
from service.claims.gate.answers import Admitted, Candidate
from service.claims.ledger.commit import Committed
from service.claims.ledger.ledger import Ledger
from service.claims.outcomes import Granted
from service.claims.people.digests import Digester
from service.claims.prepare import pending_claim
from service.config import SANDBOX_PII_KEY, Settings
from service.core.checkout import Checkout
from service.core.policy import PolicyBook
from service.core.quote import quote
from service.db.engine import LedgerAway, make_engine
from service.embedded import engines
from service.ops.logs import set_up_logs
from service.policies import read_book
from service.sandbox import RETAILER_ID, STORE_ID, read_clock
from service.wiring import Service, open_service
from tests.builders import serial

IN_FLIGHT = 256
DIGESTER = Digester(SANDBOX_PII_KEY)
SELLER_STANDING = SellerStanding(Seller(RETAILER_ID, STORE_ID), "")
# Each writer is a process of its own, as workers on several hosts are.
WRITERS = (1, 4, 16, 64)
WRITER_BATCH = 64
POOL_PARTS = 16
WRITERS_READY_S = 300
# More than PostgreSQL commits on this machine. The writers share what is made beforehand.
BATCHES_PER_S = 320

# A row per claim, unique where a claim must be. Fewer rows and indexes than Butie writes: no
# journal, quotas or lines.
BARE_TABLES = """
CREATE TABLE IF NOT EXISTS bare_pool (pool text PRIMARY KEY, spent_fen bigint NOT NULL,
    CHECK (spent_fen <= 2000000000));
CREATE TABLE IF NOT EXISTS bare_claim (claim_id uuid PRIMARY KEY, retailer_id text, store_id text,
    idempotency_key text, fingerprint bytea, order_no text, policy text, sold_at timestamptz,
    created_at timestamptz, consumer_digest bytea, category text, serial_no text UNIQUE,
    price_fen bigint, subsidy_fen bigint, UNIQUE (retailer_id, idempotency_key));
INSERT INTO bare_pool VALUES ('appliances', 0) ON CONFLICT DO NOTHING
"""
BARE = """
WITH put AS (
    INSERT INTO bare_claim
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[],
        $7::text[], $8::timestamptz[], $9::timestamptz[], $10::bytea[], $11::text[], $12::text[],
        $13::bigint[], $14::bigint[])
    RETURNING subsidy_fen
)
UPDATE bare_pool SET spent_fen = spent_fen + (SELECT sum(subsidy_fen) FROM put)
WHERE pool = 'appliances'
"""

POOLS_OF_THEIR_OWN = f"""
INSERT INTO pool (jurisdiction, pool, allocated_fen, confirmed_fen, reserved_fen, version)
SELECT '330402', 'own-' || n, 100000000000, 0, 0, 1 FROM generate_series(0, {max(WRITERS) - 1}) AS n
"""
SLICED_POOL = f"""
WITH sliced AS (
    INSERT INTO pool (
        jurisdiction, pool, allocated_fen, escrow_fen, confirmed_fen, reserved_fen, version)
    VALUES ('330402', 'sliced', 10000000000000, {POOL_PARTS} * 100000000000, 0, 0, 1)
)
INSERT INTO pool_part (jurisdiction, pool, part, escrow_fen)
SELECT '330402', 'sliced', n, 100000000000 FROM generate_series(1, {POOL_PARTS}) AS n
"""

_numbers = count(500_000_000, step=1_000_000)


def furnished(folder: Path) -> None:
    """A sandbox's data, with its money and its store."""
    set_up_logs("console", "warning")
    with sandbox(folder):
        pass


@asynccontextmanager
async def a_service(folder: Path, database_url: str, redis_url: str) -> AsyncIterator[Service]:
    kept = read_clock(folder)
    assert kept is not None, "Bug! The folder is furnished."
    settings = Settings(
        data_dir=folder,
        database_url=database_url,
        redis_url=redis_url,
        sandbox_offset_s=math.ceil(kept.offset.total_seconds()),
        answer_within_ms=60_000,  # no customer waits for the bench
    )
    async with open_service(settings) as service:
        while service.claims.gate.away or not await _knows_pools(service):
            await asyncio.sleep(0.1)
        yield service


async def _knows_pools(service: Service) -> bool:
    return bool((await service.claims.gate.view(time.time())).versions)


def checkouts(service: Service, number: int) -> list[tuple[str, Checkout]]:
    """(idempotency key, parsed checkout) of so many new claims, as the path gets them from the
    API."""
    sold_at = service.clock.now().isoformat()
    first = next(_numbers)
    return [
        (f"P{n}", Checkout.model_validate_json(json.dumps(claim_body(n, sold_at))))
        for n in range(first, first + number)
    ]


async def _in_flight(work: Callable[[Any], Coroutine[Any, Any, None]], items: list[Any]) -> float:
    """Items a second, with IN_FLIGHT of them under way."""
    left = iter(items)

    async def one_after_another() -> None:
        for item in left:
            await work(item)

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(IN_FLIGHT)))
    return len(items) / (time.perf_counter() - began)


# --- admit and commit against a bare writer ---------------------------------------------


def without_http(folder: Path, rounds: int, seconds: float) -> Row:
    claims = int(4000 * seconds)
    row = Row(
        "the claim path without HTTP (admit and commit), 256 in flight",
        "claims/s",
        "Butie",
        "one writer: bare unnest insert and one pool update a batch, no Redis",
        0.4,
    )
    furnished(folder)
    with engines(folder) as urls:
        asyncio.run(check_durable(urls.database_url))
        asyncio.run(execute(urls.database_url, BARE_TABLES))

        async def ours() -> Sample:
            async with a_service(folder, urls.database_url, urls.redis_url) as service:
                now = service.clock.now()
                ready = [
                    pending(key, checkout, service.book, now)
                    for key, checkout in checkouts(service, claims)
                ]

                async def claim(new: PendingClaim) -> None:
                    (outcome,) = await service.claims.path.admit_and_commit([new])
                    assert isinstance(outcome, Granted), outcome

                return Sample(await _in_flight(claim, ready))

        return row.rounds(
            rounds,
            lambda: uvloop.run(ours()),
            lambda: uvloop.run(_bare(urls.database_url, claims)),
        )


async def _bare(database_url: str, claims: int) -> Sample:
    connection = await asyncpg.connect(database_url)
    first, now = next(_numbers), datetime.now(UTC)
    rows = [
        (
            *(uuid7(), RETAILER_ID, STORE_ID, f"B{n}", bytes(32), f"B{n}", "nanhu-2025", now, now),
            *(bytes(16), "air_conditioner", serial(n), 1000, 200),
        )
        for n in range(first, first + claims)
    ]
    began = time.perf_counter()
    for at in range(0, claims, IN_FLIGHT):
        await connection.execute(BARE, *map(list, zip(*rows[at : at + IN_FLIGHT], strict=True)))
    took = time.perf_counter() - began
    await connection.close()
    return Sample(claims / took)


# --- one till alone ---------------------------------------------------------------------


def one_at_a_time(folder: Path, rounds: int, seconds: float) -> Row:
    """The median time of a claim that is alone, with the batchers and without them."""
    claims = int(200 * seconds)
    row = Row(
        "p50 of a claim at 1 connection, without HTTP",
        "ms",
        "Butie",
        "the same hops called directly, unbatched",
        1.3,
        at_most=True,
    )
    furnished(folder)
    with engines(folder) as urls:

        async def run(batched: bool) -> Sample:
            async with a_service(folder, urls.database_url, urls.redis_url) as service:
                step = _by_path if batched else _directly
                took = []
                for key, checkout in checkouts(service, claims):
                    began = time.perf_counter()
                    await step(service, key, checkout)
                    took.append(time.perf_counter() - began)
                return Sample(statistics.median(took) * 1000)

        return row.rounds(rounds, lambda: uvloop.run(run(True)), lambda: uvloop.run(run(False)))


async def _by_path(service: Service, key: str, checkout: Checkout) -> None:
    outcome = await service.claims.path.claim(SELLER_STANDING, key, checkout)
    assert isinstance(outcome, Granted), outcome


async def _directly(service: Service, key: str, checkout: Checkout) -> None:
    claim = pending(key, checkout, service.book, service.clock.now())
    (admission,) = await service.claims.gate.admit([Candidate(claim, 0)])
    assert isinstance(admission, Admitted), admission
    report = await service.claims.ledger.commit([claim], bypassed=False)
    assert isinstance(report.verdicts[0], Committed)
    service.claims.background(_settled(service, claim, report.pools))


async def _settled(service: Service, claim: PendingClaim, pools: Any) -> None:
    await service.claims.gate.settle(pools, done=[claim.claim_id])


# --- many writers -----------------------------------------------------------------------


def writers(folder: Path, seconds: float) -> dict[int, dict[str, float]]:
    """Claims a second by number of processes that commit to the ledger, in batches of 64, as
    workers on several hosts do. Three kinds: into one pool's row, into one pool with slices
    (BUTIE_POOL_PARTS), and into a pool for each writer. The last has no row to wait for, so it
    shows the limit of the machine."""
    kinds: dict[str, Callable[[int], str]] = {
        "one pool": lambda n: "appliances",
        f"one pool, {POOL_PARTS} slices": lambda n: "sliced",
        "a pool each": lambda n: f"own-{n}",
    }
    furnished(folder)
    rates = {}
    with engines(folder) as urls:
        asyncio.run(execute(urls.database_url, POOLS_OF_THEIR_OWN))
        asyncio.run(execute(urls.database_url, SLICED_POOL))
        for number in WRITERS:
            rates[number] = {
                kind: _write(urls.database_url, [pool_of(n) for n in range(number)], seconds)
                for kind, pool_of in kinds.items()
            }
    return rates


def _write(database_url: str, pools: Sequence[str], seconds: float) -> float:
    """Claims a second of all writers together. There is a writer for each item of `pools`."""
    number = len(pools)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once, not by each of 64
    start = context.Barrier(number + 1, timeout=WRITERS_READY_S)  # a writer may have died
    done: Any = context.Queue()
    batches = int(BATCHES_PER_S * seconds / number) + 10
    processes = [
        context.Process(
            target=_one_writer,
            args=(
                _Writer(
                    database_url,
                    next(_numbers),
                    pool,
                    batches,
                    seconds,
                ),
                start,
                done,
            ),
            daemon=True,
        )
        for pool in pools
    ]
    for process in processes:
        process.start()
    start.wait()
    rate = sum(float(done.get(timeout=seconds + WRITERS_READY_S)) for _ in processes)
    for process in processes:
        process.join()
    return rate


@dataclass(frozen=True, slots=True)
class _Writer:
    """The task of one process."""

    database_url: str
    first: int
    pool: str
    batches: int
    seconds: float


def _one_writer(writer: _Writer, start: Any, done: Any) -> None:
    uvloop.run(_commits(writer, start, done))


async def _commits(writer: _Writer, start: Any, done: Any) -> None:
    # A connection that is not made in time is retried, so its log line is no fault.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    engine = make_engine(writer.database_url, connections_max=1, pre_ping=False)
    ledger = Ledger(engine, "330402")
    ready = list(islice(_batches(writer.first, writer.pool), writer.batches))
    await _connected(ledger)
    start.wait()
    began, committed = time.perf_counter(), 0
    for batch in ready:
        if time.perf_counter() >= began + writer.seconds:
            break
        report = await ledger.commit(batch, bypassed=False)
        committed += sum(isinstance(verdict, Committed) for verdict in report.verdicts)
    done.put(committed / (time.perf_counter() - began))
    await engine.dispose()


async def _connected(ledger: Ledger) -> None:
    """Retry until the ledger answers: 64 writers that connect at once exceed a worker's timeout."""
    while True:
        try:
            await ledger.pools()
            return
        except LedgerAway:
            await asyncio.sleep(0.1)


def _batches(first: int, pool: str) -> Iterator[list[PendingClaim]]:
    book, now = read_book("330402", None), datetime(2025, 6, 18, 2, 0, tzinfo=UTC)
    for start in count(first, WRITER_BATCH):
        batch = []
        for n in range(start, start + WRITER_BATCH):
            checkout = Checkout.model_validate_json(json.dumps(claim_body(n, now.isoformat())))
            claim = pending(f"W{n}", checkout, book, now)
            lines = tuple(replace(line, pool=pool) for line in claim.quote.lines)
            claim.quote = replace(claim.quote, lines=lines)
            batch.append(claim)
        yield batch


def pending(key: str, checkout: Checkout, book: PolicyBook, now: datetime) -> PendingClaim:
    """A claim as the path hands it to the gate and the ledger."""
    return pending_claim(
        SELLER_STANDING.seller,
        key,
        DIGESTER.fingerprint(checkout),
        checkout,
        quote(book, checkout, now),
        now,
        hold_for=timedelta(minutes=15),
        digester=DIGESTER,
    )
