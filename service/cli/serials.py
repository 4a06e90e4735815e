"""`butie ledger`: changes of a ledger that a release needs and a migration cannot make."""

import asyncio

import asyncpg
import typer

from service.claims.ledger.fold_serials import SerialClash, SerialFolding, SerialLine
from service.cli.faults import faults_reported
from service.cli.ledger import engines_of
from service.config import Misconfigured, Settings
from service.db.away import driver_url

app = typer.Typer(name="ledger", help="The ledger's contents.", no_args_is_help=True)

# Progress is printed each time that so many lines are read.
REPORT_LINES = 50_000


@app.callback()
def ledger() -> None:
    """Without a callback, the one command would be the group."""


@app.command("fold-serials")
def fold_serials_command() -> None:
    """Let claims of release 0.1.0 be found under every spelling of their serial number; exit with 1
    when two live claims have one serial number. It may be interrupted and run again."""
    with faults_reported():
        folding = asyncio.run(_fold(Settings()))
    typer.echo(f"{folding.changed} folded serial numbers were added or removed.")
    for clash in folding.clashes:
        typer.echo(_sentence(clash))
    if folding.clashes:
        typer.echo(
            f"{len(folding.clashes)} clashes. Nothing of these claims was changed. Refund or "
            "cancel what was claimed twice, then run this again."
        )
        raise typer.Exit(1)


def _sentence(clash: SerialClash) -> str:
    return f"{clash.folded}: {_line(clash.holder)}, and {_line(clash.other)}"


def _line(line: SerialLine) -> str:
    return f"claim {line.claim_id} line {line.line_no} ({line.serial_no})"


async def _fold(settings: Settings) -> SerialFolding:
    database_url, _, _ = engines_of(settings)
    try:
        connection = await asyncpg.connect(
            driver_url(database_url),
            timeout=5,
            server_settings={"application_name": "butie ledger"},
        )
    except (OSError, asyncpg.PostgresError) as error:
        raise Misconfigured(f"PostgreSQL cannot be reached: {error}") from None
    try:
        folding = SerialFolding(connection, settings.jurisdiction)
        read = 0
        async for lines in folding.run():
            if read // REPORT_LINES < (read + lines) // REPORT_LINES:
                typer.echo(f"{read + lines} lines read, {folding.changed} changes", err=True)
            read += lines
        return folding
    finally:
        await connection.close()
