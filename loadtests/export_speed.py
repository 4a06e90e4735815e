"""What an export costs beside a bare COPY of the same rows: `python -m loadtests.export_speed`.

One million grants are booked in a fresh sandbox; both run in turn over several rounds, from a
process of their own. Read the ratio, not the rates; and the server's memory while it exports.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import asyncpg
import psutil

from service.embedded import engines
from service.finance.columns import COLUMNS

ENTRIES = 1_000_000
ROUNDS = 5
PORT = 18433
BOOK = """
    INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen, retailer_id,
        store_id, claim_id, line_no, category, policy)
    SELECT '330402', 'grant', booking_day('330402', '2025-06-18'), now(), 'appliances',
        100000 + n % 100000, 'sandbox', 'NH0001', gen_random_uuid(), 1, 'air_conditioner',
        'nanhu-2025'
    FROM generate_series(1, $1::int) AS n
"""
NAMES = ", ".join(one.name for one in COLUMNS)
COPY = f"SELECT {NAMES} FROM journal WHERE jurisdiction = '330402' ORDER BY entry_no"


async def book(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(BOOK, ENTRIES)
    await connection.execute("VACUUM ANALYZE journal")
    await connection.close()


async def bare_copy(database_url: str) -> float:
    connection = await asyncpg.connect(database_url)

    async def drop(chunk: bytes) -> None:
        pass

    began = time.perf_counter()
    await connection.copy_from_query(COPY, output=drop, format="csv")
    took = time.perf_counter() - began
    await connection.close()
    return took


def download(key: str) -> float:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/v1/exports/journal?from=2025-01-01&to=2030-01-01",
        headers={"Authorization": f"Bearer {key}"},
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        lines = 0
        while piece := answer.read(1 << 20):
            lines += piece.count(b"\n")
    assert lines - 1 == int(answer.headers["butie-rows"]) >= ENTRIES
    return time.perf_counter() - began


def server(folder: Path, database_url: str, redis_url: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {
        "BUTIE_DATABASE_URL": database_url,
        "BUTIE_REDIS_URL": redis_url,
        "BUTIE_SANDBOX_OFFSET_S": "0",
        "BUTIE_DATA_DIR": str(folder),
        "BUTIE_PORT": str(PORT),
        "BUTIE_LOG_LEVEL": "warning",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "service.api.app:create_app"]
    process = subprocess.Popen([*command, "--port", str(PORT)], env=environment)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz").close()
            return process
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the server did not come up")


def furnish(folder: Path) -> str:
    """Start the sandbox once, so that it has its money and keys; returns finance's key."""
    environment = os.environ | {"BUTIE_DATA_DIR": str(folder), "BUTIE_PORT": str(PORT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve"], env=environment, stderr=subprocess.DEVNULL
    )
    for _ in range(300):
        known = folder / "sandbox.json"
        if known.exists() and "base_url" in known.read_text():
            break
        time.sleep(0.1)
    process.terminate()
    process.wait(30)
    return str(json.loads((folder / "sandbox.json").read_text())["keys"]["finance"])


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = furnish(folder)
        with engines(folder) as urls:
            asyncio.run(book(urls.database_url))
            process = server(folder, urls.database_url, urls.redis_url)
            ratios = []
            for number in range(1, ROUNDS + 1):
                bare = asyncio.run(bare_copy(urls.database_url))
                ours = download(key)
                ratios.append(bare / ours)
                memory = psutil.Process(process.pid).memory_info().rss / 2**20
                print(f"round {number}: COPY {bare:.2f} s, export {ours:.2f} s, {memory:.0f} MiB")
            process.terminate()
            process.wait(30)
    print(f"export / COPY, median: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
