"""Each migration since the former release runs on a million claims, while tills sell.

`pytest -s` shows the longest time without an answer, and the slowest answer. The figures mean
something only on a quiet machine.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest

from service.db.engine import LOCK_TIMEOUT_MS, migrate
from tests.builders import uscc
from tests.faults.history import History
from tests.upgrade.former import FORMER_REVISION, NOT_HERE, ROOT, in_history, unpack
from tests.upgrade.migrations import chain
from tests.upgrade.rolling import Release, Spread, engines, enrol, sell, until
from tests.upgrade.seed import seed

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not in_history(), reason=NOT_HERE),
]

CLAIMS = 1_000_000
ENOUGH = 200

# Statements that the rules for migrations allow. They are tried as well.
ALLOWED = (
    "ALTER TABLE claim ADD COLUMN trial text NOT NULL DEFAULT ''",
    "ALTER TABLE journal ADD COLUMN trial text NOT NULL DEFAULT ''",
    "CREATE INDEX CONCURRENTLY trial_idx ON claim_line (category)",
    "ALTER TABLE claim_line ADD CONSTRAINT trial CHECK (price_fen > 0) NOT VALID",
    "ALTER TABLE claim_line VALIDATE CONSTRAINT trial",
)


async def test_claims_go_on_while_a_million_of_them_are_migrated(tmp_path: Path) -> None:
    with ExitStack() as stack:
        *_, database_url, redis_url = stack.enter_context(engines(tmp_path))
        old = Release("old", unpack(tmp_path / "former"), database_url, redis_url)
        old.butie("migrate")
        key = enrol(old, tmp_path, uscc(1))
        await seed(database_url, CLAIMS)
        history, enough = History(), asyncio.Event()
        served = stack.enter_context(old.serve(tmp_path))
        spread = Spread(served.port)
        selling = asyncio.create_task(sell(spread, key, history, enough))

        async def trial(name: str, work: Callable[[], None]) -> None:
            """Do the work while tills sell, and print the longest time without an answer."""
            await _more(spread, selling)
            first = len(spread.moments)
            started = time.monotonic()
            await asyncio.to_thread(work)
            seconds = time.monotonic() - started
            await _more(spread, selling)
            print(f"{name}: took {seconds:.2f} s, {_stall(spread, first)}")

        await trial("nothing", lambda: time.sleep(1))
        for script in chain():
            if script.revision > FORMER_REVISION:
                revision = script.revision
                await trial(revision, lambda to=revision: migrate(database_url, to))  # type: ignore[misc]
        for statement in ALLOWED:
            await trial(statement, lambda sql=statement: _execute(database_url, sql))  # type: ignore[misc]
        enough.set()
        await selling
        await _nothing_lost(database_url, history)
        Release("new", ROOT, database_url, redis_url).butie("audit")


async def _more(spread: Spread, selling: "asyncio.Task[None]") -> None:
    aim = spread.answered.total() + ENOUGH
    await until(lambda: spread.answered.total() >= aim, selling)


def _stall(spread: Spread, first: int) -> str:
    answered = [when for when, _ in spread.moments[first - 1 :]]
    gap = max(later - earlier for earlier, later in pairwise(answered))
    slowest = max(took for _, took in spread.moments[first:])
    return (
        f"longest time without an answer {gap * 1000:.0f} ms, "
        f"slowest answer {slowest * 1000:.0f} ms"
    )


def _execute(database_url: str, statement: str) -> None:
    async def run() -> None:
        limits = {"lock_timeout": "0" if "CONCURRENTLY" in statement else str(LOCK_TIMEOUT_MS)}
        connection = await asyncpg.connect(database_url, server_settings=limits)
        while True:
            try:
                await connection.execute(statement)
                break
            except asyncpg.LockNotAvailableError:
                await asyncio.sleep(0.5)
        await connection.close()

    asyncio.run(run())


async def _nothing_lost(database_url: str, history: History) -> None:
    assert history.strange == []
    answered = {claim["claim_id"] for sale in history.sales for claim in sale.granted}
    connection = await asyncpg.connect(database_url)
    kept = await connection.fetch(
        "SELECT claim_id::text FROM claim WHERE claim_id = ANY ($1::uuid[])", list(answered)
    )
    await connection.close()
    assert answered == {row[0] for row in kept}
