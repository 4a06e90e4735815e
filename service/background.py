"""Work that no answer waits for, but the end of the process does, and that end itself."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

log = structlog.get_logger()


class Background:
    """Keeps hold of tasks until they are done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __call__(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until all of it is done."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))


class Passes:
    """One bounded piece of work, again and again, until it is told to stop."""

    def __init__(self, name: str, every_s: float, expected: tuple[type[Exception], ...]) -> None:
        """`expected` faults are passed over, since whoever meets them says so; another is logged
        as `<name>_failed`. The next pass comes all the same."""
        self._name = name
        self._every_s = every_s
        self._expected = expected
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let `run` end after the pass it is in."""
        self._stopping.set()

    async def run(self, work: Callable[[], Awaitable[object]]) -> None:
        while not self._stopping.is_set():
            try:
                await work()
            except self._expected:
                pass
            except Exception:
                log.exception(f"{self._name}_failed")
            with suppress(TimeoutError):  # time for the next pass
                await asyncio.wait_for(self._stopping.wait(), self._every_s)


class ShutdownBudget:
    """Closes one thing after another, all of them within `within_s` of the first.

    What takes longer hangs on an engine that is lost, and the process ends without it: that is
    what the claim protocol is made for.
    """

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._until: float | None = None

    async def __call__(self, close: Callable[..., Awaitable[Any]], *args: Any) -> None:
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._within_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._until):
                await close(*args)
