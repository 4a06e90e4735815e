"""Wires everything together: for the server, the command line and the tests alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy.ext.asyncio import AsyncEngine

from service.claims import gate as gates
from service.claims.gate import Gate
from service.claims.ledger import Ledger
from service.claims.path import ClaimPath
from service.claims.people import Digester
from service.claims.sweeper import Sweeper
from service.clock import Clock
from service.config import Misconfigured, Settings
from service.core.assumptions import unconfirmed
from service.core.policy import PolicyBook
from service.db.engine import make_engine
from service.db.reports import Reports, open_reports
from service.finance.closing import Closer
from service.policies import read_book
from service.retailers.directory import Directory

# A pass takes milliseconds; one that hangs on a lost engine is not waited for.
STOP_S = 2


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
    sweeper: Sweeper
    reports: Reports


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Make everything, begin to sweep; at the end answer what is under way, and close in
    reverse order. The settings name both engines (`butie serve` fills in the sandbox's)."""
    clock = Clock(settings.clock_offset)
    book = read_book(settings.jurisdiction, settings.policies_dir)
    async with AsyncExitStack() as stack:
        engine = make_engine(str(settings.database_url))
        stack.push_async_callback(engine.dispose)
        client = redis.from_url(
            str(settings.redis_url),
            socket_timeout=gates.TIMEOUT_S,
            socket_connect_timeout=gates.TIMEOUT_S,
            # A command that is sent twice may count twice: the path decides what to repeat.
            retry=Retry(NoBackoff(), 0),
        )
        stack.push_async_callback(client.aclose)
        pools = {scheme for policy in book.policies for scheme in policy.schemes}
        gate = Gate(client, settings.jurisdiction, sorted(pools))
        ledger = Ledger(engine, settings.jurisdiction)
        path = ClaimPath(
            book=book,
            gate=gate,
            ledger=ledger,
            digester=Digester(settings.personal_data_key()),
            clock=clock,
            hold_for=timedelta(minutes=settings.hold_minutes),
            gate_required=settings.gate_mode == "refuse",
        )
        stack.push_async_callback(path.drain)
        sweeper = Sweeper(gate, ledger)
        sweeping = asyncio.create_task(sweeper.run())
        stack.push_async_callback(_stop, sweeper, sweeping)
        reports = await open_reports(str(settings.database_url))
        stack.callback(reports.close)
        closer = Closer(reports, book, clock)
        closing = asyncio.create_task(closer.run())
        stack.push_async_callback(_stop, closer, closing)
        directory = Directory(engine, settings.jurisdiction, clock)
        yield Service(
            settings, clock, book, engine, gate, ledger, directory, path, sweeper, reports
        )


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


async def _stop(loop: Sweeper | Closer, running: asyncio.Task[None]) -> None:
    """Not by cancelling alone: a driver that times out just then may swallow that."""
    loop.stop()
    _, late = await asyncio.wait({running}, timeout=STOP_S)
    for task in late:
        task.cancel()
