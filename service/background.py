"""Work that outlives the request that began it: tasks, loops, and the bounded end of a process."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import structlog

log = structlog.get_logger()

# A pass takes milliseconds. One that takes longer hangs on an engine that is lost.
STOP_S = 1


class Background:
    """Tasks that outlive the request that began them. Holding them keeps them from being collected
    as garbage."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __call__(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until every task is done, those included that are added meanwhile."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))


class Loop:
    """One bounded piece of work, repeated every `every_s` seconds until it is stopped.

    A pass that fails does not end the loop. `expected` errors are dropped, because whatever raises
    them reports them; any other is logged as `<name>_failed`.
    """

    def __init__(
        self,
        name: str,
        every_s: float,
        run_once: Callable[[], Awaitable[object]],
        *,
        expected: tuple[type[Exception], ...] = (),
    ) -> None:
        self.name = name
        self._every_s = every_s
        self._run_once = run_once
        self._expected = expected
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """The first pass begins at once."""
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End after the pass that is under way, or cancel it after `STOP_S`."""
        self._stopping.set()
        if self._running is None:
            return
        # Not by cancelling alone: a driver that times out at that moment may swallow it.
        try:
            await asyncio.wait({self._running}, timeout=STOP_S)
        finally:
            self._running.cancel()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._run_once()
            except self._expected:
                pass
            except Exception:
                log.exception(f"{self.name}_failed")
            with suppress(TimeoutError):  # time for the next pass
                await asyncio.wait_for(self._stopping.wait(), self._every_s)


class ShutdownBudget(AsyncExitStack):
    """What a process has opened. It is closed in reverse order, and what `closes` names is closed
    within `within_s` of the first of it.

    A close that takes longer hangs on an engine that is lost. The process ends without it: the
    claim protocol is made for that.
    """

    def __init__(self, within_s: float) -> None:
        super().__init__()
        self._within_s = within_s
        self._until: float | None = None

    def closes(self, close: Callable[[], Awaitable[object]]) -> None:
        """Call this at the end."""
        self.push_async_callback(self._close, close)

    def runs(self, loop: Loop) -> None:
        """Start the loop, and stop it at the end."""
        loop.start()
        self.closes(loop.stop)

    async def _close(self, close: Callable[[], Awaitable[object]]) -> None:
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._within_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._until):
                await close()
