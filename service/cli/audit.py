"""`butie audit`: checks the invariants of a live system."""

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated

import asyncpg
import typer

from service.audit.invariant import Finding
from service.audit.proofs import Start
from service.audit.run import AuditVerdict, audit, keep
from service.claims.gate.gate import Gate
from service.claims.ledger.ledger import Ledger
from service.cli.faults import faults_reported
from service.cli.ledger import engines_of
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.core.calendar import SHANGHAI
from service.db.away import driver_url
from service.db.engine import make_engine
from service.policies import read_book

Full = Annotated[
    bool,
    typer.Option("--full", help="Look at everything again, also at what earlier audits proved."),
]


def audit_command(full: Full = False) -> None:
    """Check every invariant on the live system; exit with 1 when one is broken, with 2 when it
    could not be checked.

    What an earlier audit has proved of closed days is not looked at again if nothing of it has
    changed."""
    with faults_reported(exit_code=2):
        begun, results = asyncio.run(_audit(Settings(), full=full))
    columns = ("invariant", "checked", "proved before", "breaches", "verdict", "seconds")
    print_table(columns, [_row(result) for result in results])
    typer.echo(_basis(begun))
    findings = [result.finding for result in results if isinstance(result.finding, Finding)]
    for finding in findings:
        for breach in finding.shown:
            typer.echo(breach)
    if any(finding.breaches for finding in findings):
        raise typer.Exit(1)
    if len(findings) < len(results):
        raise typer.Exit(2)


def _row(result: AuditVerdict) -> tuple[object, ...]:
    seconds = f"{result.seconds:.1f}"
    if isinstance(result.finding, str):
        return (result.name, "", "", "", result.finding, seconds)
    breaches = result.finding.breaches
    verdict = f"broken: {result.meaning}" if breaches else "holds"
    checked, before = result.finding.checked, result.finding.before
    return (result.name, checked, before, breaches, verdict, seconds)


def _basis(begun: Start) -> str:
    """What was looked at."""
    if begun.proved_at is None:
        return f"Everything was looked at: {begun.why}."
    days = begun.snapshot.days
    again = ", ".join(map(str, days.again)) or "none"
    return (
        f"{len(days.sums) - len(days.again)} days of the journal are as the audit of "
        f"{begun.proved_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S} proved them; "
        f"looked at now: {again}."
    )


async def _audit(settings: Settings, *, full: bool) -> tuple[Start, list[AuditVerdict]]:
    database_url, redis_url, clock = engines_of(settings)
    book = read_book(settings.jurisdiction, settings.policies_dir)
    async with AsyncExitStack() as stack:
        try:
            # Not from the service's pool of connections: an audit may take minutes.
            connection = await asyncpg.connect(
                driver_url(database_url),
                timeout=5,
                server_settings={
                    "application_name": "butie audit",
                    "statement_timeout": "0",
                    "idle_in_transaction_session_timeout": "60000",
                    # A hash table of a few million rows goes to disk in fewer pieces.
                    "work_mem": "64MB",
                    "jit": "off",
                },
            )
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            raise Misconfigured(f"PostgreSQL cannot be reached: {error}") from None
        stack.push_async_callback(connection.close)
        gate_and_ledger = None
        if redis_url is not None:
            engine = make_engine(database_url, connections_max=1, pre_ping=False)
            stack.push_async_callback(engine.dispose)
            gate = Gate(redis_url, settings.jurisdiction, sorted(book.pools))
            stack.push_async_callback(gate.close)
            gate_and_ledger = (gate, Ledger(engine, settings.jurisdiction))
        begun, results = await audit(
            connection, settings.jurisdiction, book, gate_and_ledger, clock.now(), full=full
        )
        await keep(connection, begun, results, clock.now())
        return begun, results
