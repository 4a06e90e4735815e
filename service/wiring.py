"""Opens everything that one process needs: for the server, the command line and the tests alike."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from service.background import ShutdownBudget
from service.claims.bundle import CLAIM_CONNECTIONS_MAX, Claims
from service.claims.hops import Around, unobserved
from service.clock import Clock
from service.config import Misconfigured, Settings
from service.core.assumptions import unconfirmed
from service.core.policy import PolicyBook
from service.db.engine import make_engine
from service.db.reports import REPORT_CONNECTIONS_MAX, Reports, open_reports
from service.finance.bundle import Finance
from service.finance.journal.sums import sum_up, sum_up_sales
from service.finance.reconcile.reconciliations import RUNNING_MAX as RECONCILIATIONS_MAX
from service.invoices.reader import InvoiceReader
from service.ops.figures import Figures
from service.policies import read_book
from service.pools.bundle import Pools
from service.retailers.bundle import Callers

# For all reads and writes except claims and reports.
OTHER_CONNECTIONS = 10

# For all that is closed at the end. With the server's own patience it stays under 10 s.
CLOSE_S = 2


@dataclass(frozen=True)
class Service:
    """Every long-lived object of one process, by subject."""

    settings: Settings
    clock: Clock
    book: PolicyBook
    engine: AsyncEngine
    reports: Reports
    claims: Claims
    pools: Pools
    finance: Finance
    callers: Callers
    figures: Figures
    invoice_reader: InvoiceReader


@asynccontextmanager
async def open_service(settings: Settings, around: Around = unobserved) -> AsyncIterator[Service]:
    """Opens every bundle and starts the loops. At the end it answers what is under way and closes
    in reverse order.

    The settings name both engines (`butie serve` fills in the sandbox's). `around` observes the
    hops of the claim path. Raises LedgerAway or Misconfigured.
    """
    clock = Clock(settings.clock_offset)
    book = read_book(settings.jurisdiction, settings.policies_dir)
    async with ShutdownBudget(CLOSE_S) as shutdown:
        database_url = str(settings.database_url)
        engine = make_engine(database_url, connections_max=OTHER_CONNECTIONS)
        shutdown.closes(engine.dispose)
        claims = await Claims.open(settings, book, clock, engine, shutdown, around)
        reports = await open_reports(database_url)
        shutdown.callback(reports.close)
        pools = Pools.open(book, clock, engine, reports, shutdown)
        finance = await Finance.open(settings, book, clock, reports, shutdown)
        callers = Callers.open(settings, clock, engine, shutdown)
        figures = Figures(
            engine,
            settings.jurisdiction,
            clock,
            sum_up=sum_up,
            sum_up_sales=sum_up_sales,
            uninvoiced=finance.uninvoiced,
        )
        yield Service(
            settings, clock, book, engine, reports, claims, pools, finance, callers, figures,
            InvoiceReader(),
        )  # fmt: skip


def connections_of(workers: int) -> int:
    """The most connections to PostgreSQL that so many workers have open at once."""
    # Each reconciliation runs in its own process.
    reconciliations = RECONCILIATIONS_MAX * REPORT_CONNECTIONS_MAX
    return reconciliations + workers * (
        CLAIM_CONNECTIONS_MAX + OTHER_CONNECTIONS + REPORT_CONNECTIONS_MAX
    )


def check_assumptions(settings: Settings) -> None:
    """Raises Misconfigured when BUTIE_REFUSE_ASSUMED is set and a value is not confirmed."""
    if not settings.refuse_assumed:
        return
    book = read_book(settings.jurisdiction, settings.policies_dir)
    left = unconfirmed(book, read_confirmations(settings), str(settings.confirmations))
    if left:
        raise Misconfigured(
            "BUTIE_REFUSE_ASSUMED is set, and these values are in no source. Confirm each with "
            "a line in the file that BUTIE_CONFIRMATIONS names (`butie policy assumptions`):\n"
            + "\n".join(f"  {assumption.confirmation}" for assumption in left)
        )


def read_confirmations(settings: Settings) -> str:
    """The file of the operator's confirmations; empty without one. Raises Misconfigured."""
    if settings.confirmations is None:
        return ""
    try:
        return settings.confirmations.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"BUTIE_CONFIRMATIONS cannot be read: {error}") from None
