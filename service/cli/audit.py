"""`butie audit`: do the books tie?"""

import asyncio
from contextlib import AsyncExitStack

import asyncpg
import typer

from service.audit.run import AuditVerdict, audit, keep
from service.claims.gate.gate import Gate
from service.claims.ledger.ledger import Ledger
from service.cli.faults import faults_reported
from service.cli.ledger import engines_of
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.db.away import driver_url
from service.db.engine import make_engine
from service.policies import read_book


def audit_command() -> None:
    """Check every invariant on the live system; exit with 1 when one is broken, with 2 when it
    could not be checked."""
    with faults_reported(exit_code=2):
        verdicts = asyncio.run(_audit(Settings()))
    rows = [
        (
            verdict.name,
            verdict.finding.checked if verdict.finding else "",
            verdict.finding.breaches if verdict.finding else "",
            verdict.unsaid
            or ("broken: " + verdict.meaning if verdict.finding.breaches else "holds"),  # type: ignore[union-attr]
            f"{verdict.seconds:.1f}",
        )
        for verdict in verdicts
    ]
    print_table(("invariant", "checked", "breaches", "verdict", "seconds"), rows)
    broken = [
        verdict.finding for verdict in verdicts if verdict.finding and verdict.finding.breaches
    ]
    for finding in broken:
        for line in finding.shown:
            typer.echo(line)
    if broken:
        raise typer.Exit(1)
    if any(verdict.finding is None for verdict in verdicts):
        raise typer.Exit(2)


async def _audit(settings: Settings) -> list[AuditVerdict]:
    database_url, redis_url, clock = engines_of(settings)
    book = read_book(settings.jurisdiction, settings.policies_dir)
    async with AsyncExitStack() as stack:
        try:
            # Not from a pool of the service's: an audit may take minutes.
            connection = await asyncpg.connect(
                driver_url(database_url),
                timeout=5,
                server_settings={
                    "application_name": "butie audit",
                    "statement_timeout": "0",
                    "idle_in_transaction_session_timeout": "60000",
                },
            )
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            raise Misconfigured(f"PostgreSQL cannot be reached: {error}") from None
        stack.push_async_callback(connection.close)
        watched = None
        if redis_url is not None:
            engine = make_engine(database_url, connections_max=1, pre_ping=False)
            stack.push_async_callback(engine.dispose)
            gate = Gate(redis_url, settings.jurisdiction, sorted(book.pools))
            stack.push_async_callback(gate.close)
            watched = (gate, Ledger(engine, settings.jurisdiction))
        verdicts = [
            verdict async for verdict in audit(connection, settings.jurisdiction, book, watched)
        ]
        await keep(connection, settings.jurisdiction, verdicts, clock.now())
        return verdicts
