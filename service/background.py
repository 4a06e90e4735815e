"""Work that no answer waits for, but the end of the process does."""

import asyncio
from collections.abc import Coroutine
from typing import Any


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
