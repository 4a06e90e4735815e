"""Bounds how long a request waits for its answer."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from service.db.engine import LedgerAway

Result = TypeVar("Result")


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Raises LedgerAway if the block takes longer. Without this, a request that queues behind a
    hanging round trip waits for that one and then for its own. A round trip under way goes on."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise LedgerAway("no answer in time") from None


class Patience:
    """Waits `seconds` for each answer.

    One timer serves all. `asyncio.timeout` around `asyncio.shield` does the same, and costs a
    twentieth of a claim.
    """

    def __init__(self, seconds: float, fault: Callable[[], Exception]) -> None:
        self._seconds = seconds
        self._fault = fault
        # All wait equally long, so the oldest is the next whose time is up.
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer_set = False

    async def wait_for(self, answer: asyncio.Future[Result]) -> Result:
        """The answer, for which nothing else may wait. If it takes longer, it is set to
        `fault()`."""
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + self._seconds, answer))
        if not self._timer_set:
            self._timer_set = True
            loop.call_later(self._seconds, self._expire)
        return await answer

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._waiting:
            until, answer = self._waiting[0]
            if not answer.done():
                if until > now:
                    asyncio.get_running_loop().call_later(until - now, self._expire)
                    return
                answer.set_exception(self._fault())
            self._waiting.popleft()
        self._timer_set = False
