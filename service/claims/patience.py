"""Waiting for an answer, but not for ever: one timer for all who wait."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from service.db.engine import LedgerAway

Result = TypeVar("Result")


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Raises LedgerAway when it takes longer: whoever queues behind a trip that hangs would wait
    for that one and then for its own. A trip that is under way goes on."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise LedgerAway("no answer in time") from None


class Patience:
    """Waits for tasks, `seconds` for each, and lets them go on. What becomes of one that nobody
    waits for any more is nobody's concern.

    `asyncio.timeout` around `asyncio.shield` does the same, and costs a twentieth of a claim.
    """

    def __init__(self, seconds: float, fault: Callable[[], Exception]) -> None:
        self._seconds = seconds
        self._fault = fault
        # All wait equally long, so the first to come is the first whose time is up.
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._looking = False

    async def wait_for(self, task: asyncio.Task[Result]) -> Result:
        """The task's result. Raises `fault()` when the time is up."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        task.add_done_callback(lambda done: _pass_on(done, answer))
        self._waiting.append((loop.time() + self._seconds, answer))
        if not self._looking:
            self._looking = True
            loop.call_later(self._seconds, self._look)
        return await answer

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._waiting:
            until, answer = self._waiting[0]
            if not answer.done():
                if until > now:
                    asyncio.get_running_loop().call_later(until - now, self._look)
                    return
                answer.set_exception(self._fault())
            self._waiting.popleft()
        self._looking = False


def _pass_on(done: asyncio.Task[Result], answer: asyncio.Future[Result]) -> None:
    if done.cancelled():
        answer.cancel()
        return
    fault = done.exception()  # asked for even if nobody waits: else asyncio complains
    if answer.done():
        return
    if fault is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(fault)
