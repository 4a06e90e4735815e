"""Measures what a claim logs just after a checkpoint: `python -m loadtests.checkpoints
--database-url URL [--claims 6400]`.

After a checkpoint PostgreSQL logs a page whole when it is first touched. Keys, serials and quotas
fall anywhere in their indexes, so a claim in a large ledger touches some pages that no other claim
has touched. The script commits claims in batches right after a checkpoint, once for each setting
below, and shows the bytes logged and the CPU time of the server's process.

Only for scratch ledgers with many claims (`loadtests.seed --database-url`): the pools get more
money. The server must run on this machine, and the role must be a superuser: it changes a setting
of the server, and puts it back.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table
from uuid_utils.compat import uuid7

from loadtests.bench.traffic import claim_body
from service.claims.claim import PendingClaim, Seller
from service.claims.ledger.commit import Commit, Committed
from service.claims.people.digests import Digester
from service.claims.prepare import pending_claim
from service.core.checkout import Checkout
from service.core.quote import quote
from service.policies import read_book

BATCH = 64
SELLER = Seller("seed00", "S0000")
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
ENUM = "SELECT enumvals FROM pg_settings WHERE name = 'wal_compression'"
MONEY = "UPDATE pool SET allocated_fen = allocated_fen + 10000000000, version = version + 1"
PEOPLE = range(1_000_000_000)


@dataclass(frozen=True, slots=True)
class Variant:
    """A value of wal_compression, and whether the tills' keys grow with time."""

    compression: str
    growing_keys: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one claim: bytes logged, CPU microseconds of the server's process, and microseconds."""

    wal: float
    cpu_us: float
    us: float


def claims(random: Random, count: int, *, growing_keys: bool) -> list[PendingClaim]:
    book, digester = read_book("330402"), Digester("of a measurement: no person is real")
    now = datetime(2025, 6, 18, 2, tzinfo=UTC)
    ready = []
    for n in random.sample(PEOPLE, count):
        serial_no = f"{random.getrandbits(32):08X}C{n}"
        body = claim_body(n % 20_000_000, now.isoformat(), serial_no=serial_no)
        checkout = Checkout.model_validate_json(json.dumps(body))
        key = str(uuid7() if growing_keys else UUID(int=random.getrandbits(128)))
        claim = pending_claim(
            SELLER, key, random.randbytes(32), checkout, quote(book, checkout, now), now,
            hold_for=timedelta(minutes=15), digester=digester,
        )  # fmt: skip
        person = random.randbytes(16)
        claim.consumer_digest = person
        claim.lines = tuple(
            replace(line, quotas=tuple(replace(quota, subject=person) for quota in line.quotas))
            for line in claim.lines
        )
        ready.append(claim)
    return ready


async def measured(
    connection: asyncpg.Connection, variant: Variant, ready: Sequence[PendingClaim]
) -> Cost:
    await connection.execute(f"ALTER SYSTEM SET wal_compression = {variant.compression}")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute("CHECKPOINT")
    server = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
    logged, spent, began = await connection.fetchval(WAL), _cpu_s(server), time.perf_counter()
    for start in range(0, len(ready), BATCH):
        commit = Commit("330402", bypassed=False)
        await commit.run(connection, ready[start : start + BATCH])
        assert all(isinstance(verdict, Committed) for verdict in commit.verdicts.values())
    took = time.perf_counter() - began
    logged = await connection.fetchval(WAL) - logged
    return Cost(
        logged / len(ready),
        (_cpu_s(server) - spent) / len(ready) * 1e6,
        took / len(ready) * 1e6,
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def main_async(database_url: str, count: int, rounds: int) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(MONEY)
    offered = await connection.fetchval(ENUM)
    methods = [name for name in ("off", "pglz", "lz4", "zstd") if name in offered]
    variants = [Variant("off", growing_keys=True), *(Variant(name, False) for name in methods)]
    random = Random()
    costs: dict[Variant, list[Cost]] = {variant: [] for variant in variants}
    try:
        for _ in range(rounds):
            for variant in variants:
                ready = claims(random, count, growing_keys=variant.growing_keys)
                costs[variant].append(await measured(connection, variant, ready))
    finally:
        await connection.execute("ALTER SYSTEM RESET wal_compression")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
    table = Table("wal_compression", "tills' keys", "bytes logged", "CPU µs", "µs")
    for variant, samples in costs.items():
        table.add_row(
            variant.compression,
            "growing" if variant.growing_keys else "random",
            *(
                _span([getattr(sample, name) for sample in samples])
                for name in ("wal", "cpu_us", "us")
            ),
        )
    Console().print(table)


def _span(values: Sequence[float]) -> str:
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:,.0f} ({ordered[0]:,.0f}-{ordered[-1]:,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--claims", type=int, default=6_400)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(main_async(options.database_url, options.claims, options.rounds))


if __name__ == "__main__":
    main()
