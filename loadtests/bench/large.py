"""`make bench-large`, or `python -m loadtests.bench.large [--claims N] [--rounds N] [--seconds S]
[--settle S]`.

Compares a ledger that has ten million claims with an empty one. Both run at the same time, one idle
while the other is measured, with the same PostgreSQL settings (`loadtests.bench.sized`). They are
compared twice. Just after a checkpoint nearly every claim logs whole index pages. After --settle
seconds of sales the state is that of most of the half hour between two checkpoints.

Needs 25 GB of disk and, on two quiet cores, about 25 minutes, most of it for seeding. With
--data-dir the seeded ledger is kept for the next run. Writes `loadtests/results/large.json`.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from uuid import UUID

import asyncpg
import psutil
import redis
from rich.table import Table

from loadtests.bench import over_http, report
from loadtests.bench.contest import Row, Sample
from loadtests.bench.servers import Server, Target, sandbox
from loadtests.bench.traffic import claim_body, http_post
from loadtests.seed import seed_sandbox
from service.embedded import postgres, valkey

RESULTS = Path(__file__).parents[1] / "results"
BYTES_A_CLAIM = 2_500
# Each run on a kept ledger needs other persons: the first number depends on the minute.
_numbers = count(int(time.time() / 60 % 1_000) * 15_000_000 + 1_000_000, 1_000_000)

# Largest first. The numbers of rows are those of the last ANALYZE.
SIZES = """
SELECT c.relname AS name, c.reltuples::bigint AS rows, pg_table_size(c.oid) AS heap,
    coalesce((SELECT jsonb_object_agg(i.indexrelid::regclass::text, pg_relation_size(i.indexrelid))
        FROM pg_index AS i WHERE i.indrelid = c.oid), '{}') AS indexes
FROM pg_class AS c
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
    AND pg_total_relation_size(c.oid) > 1000000
ORDER BY pg_total_relation_size(c.oid) DESC
"""
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"


@dataclass(frozen=True, slots=True)
class Audit:
    """The cost of `butie audit` on a whole ledger. `peak_mib` is the memory of its own process.
    PostgreSQL sorts on disk what exceeds its work_mem; `spilled_mib` is how much it wrote there."""

    seconds: float
    peak_mib: float
    spilled_mib: float
    output: str


def scattered(target: Target, numbers: Sequence[int]) -> list[bytes]:
    """Claims whose keys and serials fall anywhere in the indexes, as real ones do."""
    random = Random()
    posts = []
    for n in numbers:
        body = claim_body(n, target.sold_at, serial_no=f"{random.getrandbits(32):08X}B{n}")
        key = str(UUID(int=random.getrandbits(128)))
        posts.append(http_post("/v1/claims", target.key, key, json.dumps(body).encode()))
    return posts


@dataclass(slots=True)
class Sales:
    """Sells from both ledgers in turn, and measures the write-ahead log of each."""

    full: Server
    empty: Server
    urls: tuple[str, str]
    claims: int
    seconds: float

    def row(self, when: str, rounds: int) -> Row:
        """Claims a second with `claims` in the tables, compared with none."""
        row = Row(
            f"claims, durable, 1 worker, 256 connections, {self.claims:,} claims in the tables, "
            f"{when}",
            "claims/s",
            f"with {self.claims:,}",
            "with none",
            0.9,
        )
        wal: tuple[list[float], list[float]] = ([], [])
        row.rounds(
            rounds,
            lambda: self._sold(self.full, self.urls[0], wal[0]),
            lambda: self._sold(self.empty, self.urls[1], wal[1]),
        )
        for name, log in zip(("full", "empty"), wal, strict=True):
            row.remarks.append(f"{name}: write-ahead log by round, kB a claim: {_kilobytes(log)}")
        return row

    def warm(self) -> None:
        for server, url in zip((self.full, self.empty), self.urls, strict=True):
            self._sold(server, url, [])

    def go_on(self, seconds: float) -> str:
        """Sell from the full ledger for `seconds`. Returns the rates as text."""
        rates: list[float] = []
        log: list[float] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            rates.append(self._sold(self.full, self.urls[0], log).value)
        sold = " ".join(f"{rate:,.0f}" for rate in rates)
        return f"in between, claims/s: {sold}; kB of log a claim: {_kilobytes(log)}"

    def _sold(self, server: Server, url: str, log: list[float]) -> Sample:
        first = next(_numbers)
        numbers = range(first, first + int(over_http.REQUESTS_PER_S * (self.seconds + 1)))
        before = asyncio.run(value(url, WAL))
        sample = over_http.measured(
            server,
            partial(scattered, server.target, numbers),
            201,
            connections=over_http.CONNECTIONS,
            seconds=self.seconds,
        )
        written = asyncio.run(value(url, WAL)) - before
        log.append(written / (sample.value * (self.seconds + 1)))
        return sample


def _kilobytes(sizes: Sequence[float]) -> str:
    return " ".join(f"{size / 1000:.1f}" for size in sizes)


def refill(server: Server, redis_url: str, claims: int, rounds: int) -> Row:
    """The time until an emptied gate is in service again."""
    row = Row(
        f"an emptied gate back in service, {claims:,} claims in the tables",
        "s",
        "Butie",
        "1 second",
        1.0,
        inverse=True,
    )
    gate = redis.from_url(redis_url)

    def emptied() -> Sample:
        time.sleep(1.0)
        gate.flushall()
        began = time.perf_counter()
        while not gate.hget("butie:{330402}:pool:appliances", "version"):
            time.sleep(0.001)
        return Sample(time.perf_counter() - began)

    return row.rounds(rounds, emptied, lambda: Sample(1.0))


def audit(folder: Path, database_url: str, *options: str) -> Audit:
    """Run `butie audit` on the running ledger. Raises AssertionError when the books do not tie."""
    spilled = "SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()"
    before = asyncio.run(value(database_url, spilled))
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = psutil.Popen(
            [sys.executable, "-m", "service", "audit", *options],
            env=os.environ | {"BUTIE_DATA_DIR": str(folder), "COLUMNS": "100"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        peak = 0
        while process.poll() is None:
            try:
                peak = max(peak, process.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.05)
        seconds = time.monotonic() - began
        log.seek(0)
        output = log.read().decode()
    assert process.wait() == 0, output
    written = asyncio.run(value(database_url, spilled)) - before
    return Audit(seconds, peak / 2**20, written / 2**20, output)


async def value(database_url: str, query: str) -> int:
    connection = await asyncpg.connect(database_url)
    number = await connection.fetchval(query)
    await connection.close()
    return int(number)


async def sizes(database_url: str) -> list[dict[str, object]]:
    connection = await asyncpg.connect(database_url)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=json.loads)
    rows = [dict(row) for row in await connection.fetch(SIZES)]
    await connection.close()
    return rows


def show_sizes(tables: Sequence[dict[str, object]], claims: int) -> None:
    """Each table and index, in MB and in bytes a claim."""
    output = Table("table or index", "rows", "MB", "bytes a claim")
    total = 0
    for table in tables:
        sizes = {table["name"]: table["heap"], **table["indexes"]}  # type: ignore[dict-item]
        for name, size in sizes.items():
            rows = f"{table['rows']:,}" if name == table["name"] else ""
            output.add_row(str(name), rows, f"{size / 1e6:,.0f}", f"{size / claims:,.0f}")
            total += size
    output.add_row("all", "", f"{total / 1e6:,.0f}", f"{total / claims:,.0f}")
    report.console.print(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    parser.add_argument(
        "--settle", type=float, default=180.0, help="seconds of sales between the two comparisons"
    )
    parser.add_argument("--data-dir", type=Path, help="keep the seeded ledger there, or reuse it")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="butie-bench-") as folder:
        full = (options.data_dir or Path(folder)) / "full"
        if not full.exists():
            _check_room(full, options.claims)
            seed_sandbox(full, options.claims)
        _measure(full, Path(folder) / "empty", options)


def _check_room(folder: Path, claims: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < claims * BYTES_A_CLAIM:
        raise SystemExit(
            f"{claims:,} claims need {claims * BYTES_A_CLAIM / 1e9:.0f} GB of disk, and "
            f"{folder.parent} has {free / 1e9:.0f}: name another with --data-dir."
        )


def _measure(full_at: Path, empty_at: Path, options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        # Slow claims are answered as well: a 503 would hide how slow they are.
        how = {"module": "loadtests.bench.sized", "BUTIE_ANSWER_WITHIN_MS": "10000"}
        full = stack.enter_context(sandbox(full_at, **how))  # type: ignore[arg-type]
        empty = stack.enter_context(sandbox(empty_at, **how))  # type: ignore[arg-type]
        urls = str(postgres.running_url(full_at)), str(postgres.running_url(empty_at))
        for url in urls:
            asyncio.run(over_http.check_durable(url))
        tables = asyncio.run(sizes(urls[0]))
        sales = Sales(full, empty, urls, options.claims, options.seconds)
        sales.warm()
        first = sales.row("just after a checkpoint", options.rounds)
        between = sales.go_on(options.settle)
        settled = sales.row(f"{options.settle:.0f} s later", options.rounds)
        settled.remarks.append(between)
        rows = [
            first,
            settled,
            refill(full, str(valkey.running_url(full_at)), options.claims, options.rounds),
        ]
        audits = {
            "full audit": audit(full_at, urls[0], "--full"),
            "hourly audit": audit(full_at, urls[0]),
        }
    report.show(rows)
    show_sizes(tables, options.claims)
    for name, checked in audits.items():
        report.console.print(checked.output, markup=False)
        report.console.print(
            f"{name}: {checked.seconds:.0f} s, {checked.peak_mib:.0f} MiB resident at most, "
            f"{checked.spilled_mib:,.0f} MiB sorted on disk"
        )
    costs = {name: asdict(checked) for name, checked in audits.items()}
    report.write_json(RESULTS / "large.json", rows, {"tables": tables, "audits": costs})


if __name__ == "__main__":
    main()
