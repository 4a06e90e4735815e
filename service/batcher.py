"""Micro-batching: the items that queue while a batch is under way are the next batch.

There is no timer. When no batch is under way an item leaves at once. One batch at a time keeps the
order of arrival. Items that are submitted together wait together: one future serves them all.
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
    """Sends items in batches of at most `batch_max`, which may be asked before each batch; at most
    `queue_max` items wait. Items that are submitted together are never parted: more than
    `batch_max` go in a batch of their own.

    `send` returns one result for each item, in order. If it raises, every caller of the batch gets
    that error.
    """

    def __init__(
        self,
        send: Callable[[Sequence[_Item]], Awaitable[Sequence[_Result]]],
        *,
        batch_max: int | Callable[[], int],
        queue_max: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._send = send
        self._batch_max = batch_max if callable(batch_max) else lambda: batch_max
        self._queue_max = queue_max
        self._on_batch = on_batch
        # Each group of items with the future of its results.
        self._waiting: deque[tuple[Sequence[_Item], asyncio.Future[Sequence[_Result]]]] = deque()
        self._items = 0  # in all groups that wait
        self._runner: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return self._items

    async def submit(self, item: _Item) -> _Result:
        """The result of this item. Raises Overloaded when the queue is full, or what `send`
        raised."""
        return (await self._queue((item,)))[0]

    async def submit_all(self, items: Sequence[_Item]) -> Sequence[_Result]:
        """The result of each item, in order. They share one batch. Raises as `submit`, for all of
        them."""
        return await self._queue(items)

    async def drain(self) -> None:
        """Wait until everything that was submitted has its result."""
        while self._runner is not None:
            await asyncio.wait({self._runner})

    def _queue(self, items: Sequence[_Item]) -> asyncio.Future[Sequence[_Result]]:
        if self._items + len(items) > self._queue_max:
            raise Overloaded
        future: asyncio.Future[Sequence[_Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        self._items += len(items)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._carry(self._next_batch())
        finally:
            self._runner = None
            for _, future in self._waiting:  # only a cancelled runner leaves any
                if not future.done():
                    future.set_exception(Overloaded())
            self._waiting.clear()
            self._items = 0

    def _next_batch(self) -> list[tuple[Sequence[_Item], asyncio.Future[Sequence[_Result]]]]:
        """The groups that come first: one, and as many more as fit."""
        batch = [self._waiting.popleft()]
        size, batch_max = len(batch[0][0]), self._batch_max()
        while self._waiting and size + len(self._waiting[0][0]) <= batch_max:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][0])
        self._items -= size
        return batch

    async def _carry(
        self, batch: list[tuple[Sequence[_Item], asyncio.Future[Sequence[_Result]]]]
    ) -> None:
        items = [item for group, _ in batch for item in group]
        try:
            self._on_batch(len(items))
            results = await self._send(items)
            assert len(results) == len(items), "Bug! A batch lost an answer."
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
        start = 0
        for group, future in batch:
            end = start + len(group)
            if not future.done():  # its caller may have gone
                future.set_result(results[start:end])
            start = end
