"""What one process needs for finance, opened together."""

from dataclasses import dataclass

from service.background import ShutdownBudget
from service.clock import Clock
from service.config import Settings
from service.core.policy import PolicyBook
from service.db.reports import Reports
from service.finance.journal.closing import DayCloser
from service.finance.journal.snapshot import Books
from service.finance.reconcile.runner import ReconcileRunner
from service.finance.settlements.uninvoiced import UninvoicedCache


@dataclass(frozen=True, slots=True)
class Finance:
    books: Books
    reconciliations: ReconcileRunner
    uninvoiced: UninvoicedCache

    @classmethod
    async def open(
        cls,
        settings: Settings,
        book: PolicyBook,
        clock: Clock,
        reports: Reports,
        shutdown: ShutdownBudget,
    ) -> "Finance":
        """Begins to close the days that are due. At the end a reconciliation that still runs is
        killed, and recorded as interrupted."""
        books = await Books.open(reports, settings.standby_url)
        shutdown.callback(books.close)
        runner = ReconcileRunner(reports, str(settings.database_url), settings.standby_url, clock)
        shutdown.push_async_callback(runner.close)
        shutdown.runs(DayCloser(reports, book, clock).loop())
        uninvoiced = UninvoicedCache(reports, settings.jurisdiction, clock)
        shutdown.callback(uninvoiced.close)
        return cls(books, runner, uninvoiced)
