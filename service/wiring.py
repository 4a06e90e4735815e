"""Wires everything together: for the server, the command line and the tests alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from service.background import Background, ShutdownBudget
from service.claims.gate.gate import Gate
from service.claims.ledger.ledger import Ledger
from service.claims.lifecycle import Lifecycle
from service.claims.path import ClaimPath
from service.claims.people.digests import Digester
from service.claims.people.rotation import check_keys
from service.claims.sweeper import Sweeper
from service.claims.tally import Tally
from service.clock import Clock
from service.config import Misconfigured, Settings
from service.core.assumptions import unconfirmed
from service.core.policy import PolicyBook
from service.db.engine import make_engine
from service.db.reports import CONNECTIONS_MAX as REPORT_CONNECTIONS
from service.db.reports import Reports, open_reports
from service.finance.journal.closing import DayCloser
from service.finance.journal.snapshot import Books
from service.finance.journal.sums import sum_up
from service.finance.reconcile.reconciliations import RUNNING_MAX as RECONCILIATIONS_MAX
from service.finance.reconcile.runner import ReconcileRunner
from service.finance.settlements.uninvoiced import UninvoicedCache
from service.ops.figures import Figures
from service.ops.pulse import Pulse
from service.policies import read_book
from service.pools.slices import set_aside
from service.pools.tranches import open_due
from service.pools.watch import BudgetWatch
from service.retailers.directory import Directory
from service.retailers.last_used import LastUsed
from service.retailers.limiter import Limiter

# One for each of the path's batchers, and some for the sweeper.
CLAIM_CONNECTIONS = 8

# For all else that is asked of the ledger.
OTHER_CONNECTIONS = 10

# A pass takes milliseconds; one that hangs on a lost engine is not waited for.
STOP_S = 1
# And so for all that is closed at the end: with the server's own patience under 10 s.
CLOSE_S = 2


@dataclass(frozen=True)
class Service:
    """Every long-lived thing of one process."""

    settings: Settings
    clock: Clock
    book: PolicyBook
    engine: AsyncEngine
    gate: Gate
    ledger: Ledger
    directory: Directory
    path: ClaimPath
    lifecycle: Lifecycle
    sweeper: Sweeper
    limiter: Limiter | None
    background: Background
    reports: Reports
    watch: BudgetWatch
    tally: Tally
    figures: Figures
    books: Books
    reconciliations: ReconcileRunner


@asynccontextmanager
async def open_service(
    settings: Settings, claim_path: Callable[..., ClaimPath] = ClaimPath
) -> AsyncIterator[Service]:
    """Make everything, begin to sweep; at the end answer what is under way, and close in
    reverse order. The settings name both engines (`butie serve` fills in the sandbox's).
    `claim_path` makes the path from its parts: a traced one where traces are wanted."""
    clock = Clock(settings.clock_offset)
    book = read_book(settings.jurisdiction, settings.policies_dir)
    closing = ShutdownBudget(CLOSE_S)
    async with AsyncExitStack() as stack:
        database_url = str(settings.database_url)
        engine = make_engine(database_url, connections_max=OTHER_CONNECTIONS)
        stack.push_async_callback(closing, engine.dispose)
        # Of its own: whatever else is asked of the ledger, claims find a connection.
        claims_engine = make_engine(database_url, connections_max=CLAIM_CONNECTIONS, pre_ping=False)
        stack.push_async_callback(closing, claims_engine.dispose)
        pools = {scheme for policy in book.policies for scheme in policy.schemes}
        gate = Gate(str(settings.redis_url), settings.jurisdiction, sorted(pools))
        stack.push_async_callback(closing, gate.close)
        ledger = Ledger(claims_engine, settings.jurisdiction)
        digester = Digester(*settings.personal_data_keys(), rotating=settings.pii_rotating)
        await check_keys(engine, settings.jurisdiction, digester)
        background = Background()
        stack.push_async_callback(closing, background.drain)
        openings: dict[str, datetime] = {}
        path = claim_path(
            book=book,
            gate=gate,
            ledger=ledger,
            digester=digester,
            clock=clock,
            hold_for=timedelta(minutes=settings.hold_minutes),
            gate_required=settings.gate_mode == "refuse",
            answer_within_s=settings.answer_within_ms / 1000,
            background=background,
            openings=openings,
        )
        stack.push_async_callback(closing, path.drain)
        lifecycle = Lifecycle(
            gate,
            ledger,
            digester,
            clock,
            background,
            answer_within_s=settings.answer_within_ms / 1000,
        )
        sweeper = Sweeper(
            gate,
            ledger,
            clock,
            open_due=partial(open_due, claims_engine, settings.jurisdiction),
            set_aside=partial(set_aside, claims_engine, settings.jurisdiction, settings.pool_parts),
            openings=openings,
            without_gate="refusing" if settings.gate_mode == "refuse" else "bypassed",
        )
        sweeping = asyncio.create_task(sweeper.run())
        stack.push_async_callback(closing, _stop, sweeper, sweeping)
        reports = await open_reports(str(settings.database_url))
        stack.callback(reports.close)
        standby_url = settings.standby_url
        books = await Books.open(reports, standby_url)
        stack.callback(books.close)
        reconciliations = ReconcileRunner(reports, database_url, standby_url, clock)
        stack.push_async_callback(reconciliations.close)
        closer = DayCloser(reports, book, clock)
        closer_runs = asyncio.create_task(closer.run())
        stack.push_async_callback(closing, _stop, closer, closer_runs)
        watch = BudgetWatch(engine, reports, book, clock)
        watching = asyncio.create_task(watch.run())
        stack.push_async_callback(closing, _stop, watch, watching)
        uninvoiced = UninvoicedCache(reports, settings.jurisdiction, clock)
        stack.callback(uninvoiced.close)
        figures = Figures(
            engine, settings.jurisdiction, clock, sum_up=sum_up, uninvoiced=uninvoiced
        )
        looking = asyncio.create_task(Pulse(lambda: path.queues() | lifecycle.queues()).run())
        stack.callback(looking.cancel)
        last_used = LastUsed(engine, settings.jurisdiction)
        stack.push_async_callback(closing, last_used.write)
        noting = asyncio.create_task(last_used.run())
        stack.callback(noting.cancel)
        directory = Directory(engine, settings.jurisdiction, clock, last_used)
        limiter = None
        if settings.rate_limit_per_s is not None:
            limiter = Limiter(
                str(settings.redis_url),
                settings.jurisdiction,
                per_s=settings.rate_limit_per_s,
                burst=settings.rate_limit_burst or 10 * settings.rate_limit_per_s,
            )
            stack.push_async_callback(closing, limiter.close)
        yield Service(
            settings=settings,
            clock=clock,
            book=book,
            engine=engine,
            gate=gate,
            ledger=ledger,
            directory=directory,
            path=path,
            lifecycle=lifecycle,
            sweeper=sweeper,
            limiter=limiter,
            background=background,
            reports=reports,
            watch=watch,
            tally=Tally(book),
            figures=figures,
            books=books,
            reconciliations=reconciliations,
        )


def connections_of(workers: int) -> int:
    """How many connections to PostgreSQL that many workers may have at once."""
    # A reconciliation is a process of its own.
    reconciliations = RECONCILIATIONS_MAX * REPORT_CONNECTIONS
    return reconciliations + workers * (CLAIM_CONNECTIONS + OTHER_CONNECTIONS + REPORT_CONNECTIONS)


def check_assumptions(settings: Settings) -> None:
    """Raises Misconfigured when BUTIE_REFUSE_ASSUMED is set and a value is not confirmed."""
    if not settings.refuse_assumed:
        return
    book = read_book(settings.jurisdiction, settings.policies_dir)
    left = unconfirmed(book, read_confirmations(settings), str(settings.confirmations))
    if left:
        raise Misconfigured(
            "BUTIE_REFUSE_ASSUMED is set, and these values stand in no source. Confirm each with "
            "a line in the file that BUTIE_CONFIRMATIONS names (`butie policy assumptions`):\n"
            + "\n".join(f"  {one.confirmation}" for one in left)
        )


def read_confirmations(settings: Settings) -> str:
    """The operator's confirmations; none without a file. Raises Misconfigured."""
    if settings.confirmations is None:
        return ""
    try:
        return settings.confirmations.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"BUTIE_CONFIRMATIONS cannot be read: {error}") from None


async def _stop(loop: Sweeper | DayCloser | BudgetWatch, running: asyncio.Task[None]) -> None:
    """Not by cancelling alone: a driver that times out just then may swallow that."""
    loop.stop()
    _, late = await asyncio.wait({running}, timeout=STOP_S)
    for task in late:
        task.cancel()
