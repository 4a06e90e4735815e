"""What one process needs to watch the pools, opened together."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from service.background import ShutdownBudget
from service.clock import Clock
from service.core.policy import PolicyBook
from service.db.reports import Reports
from service.pools.watch import BudgetWatch


@dataclass(frozen=True, slots=True)
class Pools:
    watch: BudgetWatch

    @classmethod
    def open(
        cls,
        book: PolicyBook,
        clock: Clock,
        engine: AsyncEngine,
        reports: Reports,
        shutdown: ShutdownBudget,
    ) -> "Pools":
        """Begins to read the budgets and to forecast them."""
        watch = BudgetWatch(engine, reports, book, clock)
        shutdown.closes(watch.drain)
        shutdown.runs(watch.loop())
        return cls(watch)
