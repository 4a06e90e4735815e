"""Looks at this worker's queues once a second, for the metrics."""

import asyncio
from collections.abc import Callable, Mapping

from service import metrics

EVERY_S = 1.0


class Pulse:
    """`queues` tells how many items wait, by the queue's name."""

    def __init__(self, queues: Callable[[], Mapping[str, int]]) -> None:
        self._queues = queues

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.run_once()
            await asyncio.sleep(EVERY_S)

    def run_once(self) -> None:
        for name, waiting in self._queues().items():
            metrics.queue_items.labels(name).set(waiting)
