"""PostgreSQL's CPU time for a batch: the function that commits it against the one statement of WITH
queries that did so before."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from loadtests.bench.contest import Row, Sample
from loadtests.bench.inside import furnished, pending
from loadtests.bench.over_http import check_durable
from loadtests.bench.traffic import claim_body
from service.claims.claim import PendingClaim
from service.claims.ledger.commit import commit_claims, commit_rows
from service.core.checkout import Checkout
from service.embedded import engines
from service.policies import read_book
from tests.claims.committing import PLACE, commit_by_one_statement

# A connection's first plans are made anew each time.
WARM_UP = 10
# Batches a second of a run: about what the machine commits.
CLAIMS_PER_S = {1: 400, 64: 2560}

_numbers = count(700_000_000, step=1_000_000)


def commits(folder: Path, rounds: int, seconds: float, *, size: int) -> Row:
    row = Row(
        f"PostgreSQL's CPU for a batch of {size}",
        "µs",
        "commit_claims, a function of simple statements",
        "one statement of WITH queries",
        1.0,
        at_most=True,
    )
    batches = int(CLAIMS_PER_S[size] * seconds / size)
    furnished(folder)
    with engines(folder) as urls:
        asyncio.run(check_durable(urls.database_url))

        def run(way: Callable[..., Awaitable[Any]]) -> Sample:
            return Sample(uvloop.run(_server_us(urls.database_url, way, size, batches)))

        return row.rounds(rounds, lambda: run(commit_claims), lambda: run(commit_by_one_statement))


async def _server_us(
    database_url: str, way: Callable[..., Awaitable[Any]], size: int, batches: int
) -> float:
    """Microseconds on a CPU of the connection's server process, a batch."""
    rows = [
        (PLACE, *commit_rows(batch), False, False)
        for batch in islice(_batches(next(_numbers), size), batches + WARM_UP)
    ]
    connection = await asyncpg.connect(database_url)
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    for batch in rows[:WARM_UP]:
        await way(connection, batch)
    before = _on_cpu_us(pid)
    for batch in rows[WARM_UP:]:
        await way(connection, batch)
    spent = _on_cpu_us(pid) - before
    await connection.close()
    return spent / batches


def _on_cpu_us(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000


def _batches(first: int, size: int) -> Iterator[list[PendingClaim]]:
    book, now = read_book(PLACE, None), datetime(2025, 6, 18, 2, 0, tzinfo=UTC)
    for start in count(first, size):
        yield [
            pending(
                f"C{n}",
                Checkout.model_validate_json(json.dumps(claim_body(n, now.isoformat()))),
                book,
                now,
            )
            for n in range(start, start + size)
        ]
