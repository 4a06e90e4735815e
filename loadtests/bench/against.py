"""`python -m loadtests.bench.against --was COMMAND [--now COMMAND] [--rounds N] [--seconds S]`.

Compares two builds of Butie in one run, each with engines and a ledger of its own. A command is how
`butie` of that build is called: another checkout with its interpreter, or an image laid out by
deploy/image/build-here.sh.

    --was "env PYTHONPATH=../before ../before/.venv/bin/python -m service"
    --was "chroot .image-before/rootfs /opt/butie/bin/butie"

The load generator is this checkout's for both. The clock is the real one, so a policy must be in
force today.
"""

import argparse
import asyncio
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from loadtests.bench import over_http, report
from loadtests.bench.contest import Row, Sample
from loadtests.bench.servers import Server, Target, running
from service import sandbox
from service.config import Settings
from service.db.acts import ActContext
from service.db.engine import connect, make_engine
from service.embedded import engines
from service.policies import read_book
from service.pools.budgets import Allocation, allocate
from service.retailers.enrol import NewStore, add_retailer, add_stores
from service.retailers.issue import create_key

RESULTS = Path(__file__).parents[1] / "results"
NOW = "env PYTHONPATH=. .venv/bin/python -m service"
BUDGET_FEN = 100_000_000_000
ROWS = ("claims at 256 connections", "claims at 64 connections", "claims in batches of 250")


@contextmanager
def build(command: str, folder: Path) -> Iterator[Server]:
    """A running service of this build, with one worker."""
    words = shlex.split(command)
    with engines(folder) as urls:
        asyncio.run(over_http.check_durable(urls.database_url))
        environment = {
            "BUTIE_DATABASE_URL": urls.database_url,
            "BUTIE_REDIS_URL": str(urls.redis_url),
            "BUTIE_PII_KEY": "of a bench, where no person is real",
        }
        subprocess.run(
            [*words, "migrate"], env=os.environ | environment, check=True, capture_output=True
        )
        now = datetime.now(UTC)
        key = asyncio.run(_open_shop(urls.database_url, now))
        with running([*words, "serve"], "BUTIE_PORT", environment) as (port, process):
            yield Server(Target(port, now.isoformat(), key), process)


async def _open_shop(database_url: str, now: datetime) -> str:
    """Enrol the retailer and fill the pools of the claims. Returns the till's key."""
    settings = Settings()
    book = read_book(settings.jurisdiction, None)
    engine = make_engine(database_url)
    async with connect(engine, within_s=60) as connection:
        context = ActContext(connection, settings.jurisdiction, "bench", now)
        await add_retailer(
            context, retailer_id="bench", uscc_number=sandbox.RETAILER_USCC, name="测速商贸"
        )
        await add_stores(context, "bench", [NewStore(sandbox.STORE_ID, "测速门店", None)])
        for pool in sorted(book.pools):
            money = Allocation(pool, BUDGET_FEN, "BENCH", "money of a bench")
            await allocate(connection, settings.jurisdiction, money, now)
        key = await create_key(context, role="pos", retailer_id="bench", label="bench")
    await engine.dispose()
    return key.secret


def compare(now: Server, was: Server, name: str, rounds: int, seconds: float) -> Row:
    """One of ROWS."""
    row = Row(name, "claims/s", "now", "was", 1.3 if "batches" not in name else None)
    run = {
        ROWS[0]: partial(over_http.claims, seconds=seconds, connections=256),
        ROWS[1]: partial(over_http.claims, seconds=seconds, connections=64),
        ROWS[2]: partial(over_http.batched, seconds=seconds),
    }[name]
    return row.rounds(rounds, partial(run, now), partial(run, was))


def batches_and_singles(server: Server, rounds: int, seconds: float) -> Row:
    """The claims of this build through its batches, and one by one."""
    row = Row("batches of 250 and single claims", "claims/s", "in batches", "one by one", 3.0)

    def batched() -> Sample:
        return over_http.batched(server, seconds)

    return row.rounds(rounds, batched, lambda: over_http.claims(server, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--was", required=True, help="the command of the earlier build")
    parser.add_argument("--now", default=NOW, help="the command of the other; by default this one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    rounds, seconds = options.rounds, options.seconds
    with tempfile.TemporaryDirectory(prefix="butie-bench-") as folder, ExitStack() as stack:
        was = stack.enter_context(build(options.was, Path(folder) / "was"))
        now = stack.enter_context(build(options.now, Path(folder) / "now"))
        for server in (was, now):  # the first thousands of claims fill caches
            over_http.claims(server, seconds)
        rows = [compare(now, was, name, rounds, seconds) for name in ROWS]
        rows.append(batches_and_singles(now, rounds, seconds))
    report.show(rows)
    report.write_json(RESULTS / "against.json", rows, {"was": options.was, "now": options.now})


if __name__ == "__main__":
    main()
