"""An upgrade from the former release to this one and back, while tills sell, loses nothing."""

import asyncio
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.builders import uscc
from tests.faults.books import read_books
from tests.faults.checker import breaches
from tests.faults.history import History
from tests.upgrade.former import NOT_HERE, ROOT, in_history, unpack
from tests.upgrade.rolling import Release, Served, Spread, engines, enrol, sell, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not in_history(), reason=NOT_HERE),
]

# Answers of every running release before the next step.
ENOUGH = 100
AT_REST_WITHIN_S = 60


async def test_an_upgrade_under_load_and_the_way_back_lose_nothing(tmp_path: Path) -> None:
    with ExitStack() as stack:
        _, valkey, *urls = stack.enter_context(engines(tmp_path))
        old = Release("old", unpack(tmp_path / "former"), *urls)
        new = Release("new", ROOT, *urls)
        old.butie("migrate")
        key = enrol(old, tmp_path, uscc(1))
        history, enough = History(), asyncio.Event()
        first = stack.enter_context(old.serve(tmp_path))
        spread = Spread(first.port)
        selling = asyncio.create_task(sell(spread, key, history, enough))

        async def goes_on(*served: Served) -> None:
            """Send the tills' requests to these alone, until each has answered ENOUGH more."""
            spread.ports = [service.port for service in served]
            aims = {port: spread.answered[port] + ENOUGH for port in spread.ports}
            await until(
                lambda: all(spread.answered[port] >= aim for port, aim in aims.items()), selling
            )

        await goes_on(first)
        await asyncio.to_thread(new.butie, "migrate")
        assert first.ready(), "the former release must go on after the migration"
        await goes_on(first)
        second = stack.enter_context(new.serve(tmp_path))
        await goes_on(first, second)
        await asyncio.to_thread(first.stop)  # tills that still try it retry with the other
        await goes_on(second)
        # The way back: the former release runs on the new schema, first with the new one, then
        # alone.
        third = stack.enter_context(old.serve(tmp_path))
        await goes_on(second, third)
        await asyncio.to_thread(second.stop)
        await goes_on(third)
        fourth = stack.enter_context(new.serve(tmp_path))
        await goes_on(third, fourth)
        await asyncio.to_thread(third.stop)
        await goes_on(fourth)
        enough.set()
        await selling

        books = await _at_rest(urls[0], valkey.client)
        print(f"{history.counts} over {dict(spread.answered)}")
        assert breaches(history, books) == []
        assert len(books.claims) >= history.counts.granted > 0
        assert history.counts.refused > 0
        new.butie("audit")  # ends with 0 only when every invariant holds
        old.butie("audit")


def test_each_release_runs_its_own_code(tmp_path: Path) -> None:
    tree = unpack(tmp_path / "former")
    release = Release("old", tree, "postgresql://nowhere/butie", "redis://nowhere")
    where = "import service, service.claims.path as path; print(path.__file__)"
    output = subprocess.check_output(
        [sys.executable, "-c", where], cwd=tree, env=release.environment, text=True
    )
    assert Path(output.strip()).is_relative_to(tree)


async def _at_rest(database_url: str, gate: Any) -> Any:
    deadline = asyncio.get_running_loop().time() + AT_REST_WITHIN_S
    while True:
        await asyncio.sleep(1)  # two sweeps
        books = await read_books(database_url, gate)
        if books.admissions == 0 or asyncio.get_running_loop().time() > deadline:
            return books
