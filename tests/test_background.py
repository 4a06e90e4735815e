"""The loops of a process, and its bounded end."""

import asyncio
import inspect
from importlib import import_module
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from service import background, wiring
from service.background import Loop, ShutdownBudget
from tests.conftest import House

pytestmark = pytest.mark.anyio

BUNDLES = ("claims", "pools", "finance", "retailers")


class Expected(Exception):
    pass


async def test_a_loop_goes_on_after_a_failed_pass_and_logs_what_it_did_not_expect() -> None:
    passes, third = 0, asyncio.Event()

    async def run_once() -> None:
        nonlocal passes
        passes += 1
        if passes == 1:
            raise Expected
        if passes == 2:
            raise RuntimeError("a bug of ours")
        third.set()

    loop = Loop("counting", 0.001, run_once, expected=(Expected,))
    with capture_logs() as logs:
        loop.start()
        await third.wait()
        await loop.stop()
    assert [line["event"] for line in logs] == ["counting_failed"]


async def test_a_loop_ends_its_pass_before_it_stops() -> None:
    ended, begun = [], asyncio.Event()

    async def run_once() -> None:
        begun.set()
        await asyncio.sleep(0.05)
        ended.append("the pass")

    loop = Loop("slow", 60, run_once)
    loop.start()
    await begun.wait()
    await loop.stop()
    assert ended == ["the pass"]


async def test_a_pass_that_hangs_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "STOP_S", 0.01)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def run_once() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    loop = Loop("hanging", 60, run_once)
    loop.start()
    await begun.wait()
    await loop.stop()
    async with asyncio.timeout(10):
        await cancelled.wait()


async def test_all_is_closed_in_reverse_and_one_that_hangs_holds_up_nothing() -> None:
    closed = []

    async def close_first() -> None:
        closed.append("opened first")

    async def hang() -> NoReturn:
        closed.append("hangs")
        await asyncio.Event().wait()
        raise AssertionError

    async def run_once() -> None:
        pass

    async with asyncio.timeout(10), ShutdownBudget(within_s=0.05) as shutdown:
        shutdown.callback(lambda: closed.append("has no budget"))
        shutdown.closes(hang)
        shutdown.runs(Loop("quick", 60, run_once))
        shutdown.closes(close_first)
    assert closed == ["opened first", "hangs", "has no budget"]


async def test_a_worker_starts_its_five_loops_and_no_task_beside_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    start = Loop.start

    def noted(loop: Loop) -> None:
        started.append(loop.name)
        start(loop)

    monkeypatch.setattr(Loop, "start", noted)
    await house.open_worker()
    assert sorted(started) == ["closing", "last_used", "queues", "sweep", "watch"]
    for opens in (wiring, *(import_module(f"service.{room}.bundle") for room in BUNDLES)):
        assert "create_task" not in inspect.getsource(opens)
