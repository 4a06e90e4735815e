"""Micro-batching: the items that queue while a batch is under way are the next batch.

There is no timer. When no batch is under way an item leaves at once. One batch at a time keeps the
order of arrival.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Overloaded(Exception):
    """The queue is full; nothing was kept. The caller may retry after a moment."""


class MicroBatcher(Generic[_Item, _Result]):
    """Sends items in batches of at most `batch_max`; at most `queue_max` items wait.

    `send` returns one result for each item, in order. If it raises, every caller of the batch gets
    that error.
    """

    def __init__(
        self,
        send: Callable[[Sequence[_Item]], Awaitable[Sequence[_Result]]],
        *,
        batch_max: int,
        queue_max: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._send = send
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._on_batch = on_batch
        self._waiting: deque[tuple[_Item, asyncio.Future[_Result]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def submit(self, item: _Item) -> _Result:
        """The result of this item. Raises Overloaded when the queue is full, or what `send`
        raised."""
        if len(self._waiting) >= self._queue_max:
            raise Overloaded
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await future

    async def drain(self) -> None:
        """Wait until everything that was submitted has its result."""
        while self._runner is not None:
            await asyncio.wait({self._runner})

    async def _run(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), self._batch_max)
                await self._carry([self._waiting.popleft() for _ in range(size)])
        finally:
            self._runner = None
            for _, future in self._waiting:  # only a cancelled runner leaves any
                if not future.done():
                    future.set_exception(Overloaded())
            self._waiting.clear()

    async def _carry(self, batch: list[tuple[_Item, asyncio.Future[_Result]]]) -> None:
        try:
            self._on_batch(len(batch))
            results = await self._send([item for item, _ in batch])
            assert len(results) == len(batch), "Bug! A batch lost an answer."
        except BaseException as error:
            for _, future in batch:
                if future.done():
                    continue
                if isinstance(error, Exception):
                    future.set_exception(error)
                else:
                    future.cancel()  # it was sent: its outcome is unknown
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():  # its caller may have gone
                future.set_result(result)
