"""The row of the export: a million entries as csv, compared with a bare COPY of them."""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil

from loadtests.bench.contest import Row, Sample
from loadtests.bench.over_http import ours
from service.embedded import postgres
from service.finance.journal.columns import EXPORT_COLUMNS

ENTRIES = 1_000_000
SAMPLE_EVERY_S = 0.02
UNSUMMED = "butie_journal_unsummed_entries"

BOOK = """
    INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen, retailer_id,
        store_id, claim_id, line_no, category, policy)
    SELECT '330402', 'grant', booking_day('330402', '2025-06-18'), now(), 'appliances',
        100000 + n % 100000, 'sandbox', 'NH0001', gen_random_uuid(), 1, 'air_conditioner',
        'nanhu-2025'
    FROM generate_series(1, $1::int) AS n
"""
NAMES = ", ".join(column.name for column in EXPORT_COLUMNS)
COPY = f"SELECT {NAMES} FROM journal WHERE jurisdiction = '330402' ORDER BY entry_no"


def csv_export(folder: Path, rounds: int, seconds: float) -> Row:
    """Each run is one whole export, so `seconds` is not used."""
    row = Row(
        f"journal export, csv, {ENTRIES:,} entries",
        "s",
        "Butie, over HTTP",
        "COPY … TO STDOUT of the same rows",
        0.9,
        inverse=True,
    )
    with ours(folder) as server:
        url = str(postgres.running_url(folder))
        asyncio.run(_book(url))
        _scrape_until_summed(server.target.port)
        key = json.loads((folder / "sandbox.json").read_text())["keys"]["finance"]

        def exported() -> Sample:
            with _peak_of(server.process) as peak:
                took = _download(server.target.port, key)
            row.remarks.append(f"peak of the service's resident memory: {peak[0]:.0f} MiB")
            return Sample(took)

        return row.rounds(rounds, exported, lambda: Sample(asyncio.run(_copy(url))))


async def _book(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(BOOK, ENTRIES)
    await connection.execute("VACUUM ANALYZE journal")
    await connection.close()


def _scrape_until_summed(port: int) -> None:
    """Each scrape sums up more of the journal, as Prometheus's do all day. An export takes its size
    from the sums."""
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            figures = answer.read().decode()
        if UNSUMMED + " 0.0" in figures:
            return
        time.sleep(0.5)


async def _copy(database_url: str) -> float:
    connection = await asyncpg.connect(database_url)

    async def drop(chunk: bytes) -> None:
        pass

    began = time.perf_counter()
    await connection.copy_from_query(COPY, output=drop, format="csv")
    took = time.perf_counter() - began
    await connection.close()
    return took


def _download(port: int, key: str) -> float:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/exports/journal?from=2025-01-01&to=2030-01-01",
        headers={"Authorization": f"Bearer {key}"},
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        lines = 0
        while piece := answer.read(1 << 20):
            lines += piece.count(b"\n")
    assert lines - 1 == int(answer.headers["butie-rows"]) >= ENTRIES
    return time.perf_counter() - began


@contextmanager
def _peak_of(process: psutil.Process) -> Iterator[list[float]]:
    """A list of one number: the most memory that the process had resident meanwhile, in MiB."""
    peak, over = [0.0], threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_EVERY_S):
            peak[0] = max(peak[0], process.memory_info().rss / 2**20)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        over.set()
        sampler.join()
