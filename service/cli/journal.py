"""`butie journal`: close the days that are due, and verify that closed days are unchanged."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import typer

from service.cli.faults import faults_reported
from service.cli.ledger import engines_of
from service.clock import Clock
from service.config import Settings
from service.core.money import yuan
from service.db.reports import Reports, open_reports
from service.finance.journal.closing import DayCloser, still_due
from service.finance.journal.verify import verify
from service.policies import read_book

DIGEST = re.compile("[0-9a-fA-F]{64}")

app = typer.Typer(name="journal", help="Close and verify the journal.", no_args_is_help=True)


@app.command("close")
def close_command() -> None:
    """Close every day that is due. `butie serve` does this by itself."""
    with faults_reported():
        asyncio.run(_close(Settings()))


@app.command("verify")
def verify_command(
    digest: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="a digest noted earlier: a closed day must still have it"),
    ] = None,
) -> None:
    """Recompute every closed day. Exits with 1 if a row was changed, dropped or added."""
    if digest is not None and not DIGEST.fullmatch(digest):
        raise typer.BadParameter("A digest is 64 hexadecimal digits.", param_hint="--digest")
    with faults_reported():
        good = asyncio.run(_verify(Settings(), digest))
    raise typer.Exit(0 if good else 1)


async def _close(settings: Settings) -> None:
    async with reports_of(settings) as (reports, clock):
        book = read_book(settings.jurisdiction, settings.policies_dir)
        closed = await DayCloser(reports, book, clock).run_once()
        async with reports.connection() as connection:
            waiting = await still_due(connection, settings.jurisdiction, clock.now())
    for day in closed:
        typer.echo(f"{day} closed")
    if waiting:
        typer.echo(f"{waiting} waits for a booking on it, or for another worker. Try again.")
        raise typer.Exit(1)
    if not closed:
        typer.echo("No day is due.")


async def _verify(settings: Settings, noted: str | None) -> bool:
    async with reports_of(settings) as (reports, _), reports.connection() as connection:
        return await print_verified(connection, settings.jurisdiction, noted)


async def print_verified(
    connection: asyncpg.Connection, jurisdiction: str, noted: str | None
) -> bool:
    """Print each closed day with its findings. Returns whether there is none, and whether a closed
    day has the digest `noted`, if given."""
    good, digests = True, set()
    async for day in verify(connection, jurisdiction):
        typer.echo(f"{day.day}  {day.entries:>9}  {yuan(day.sum_fen):>18}  {day.digest}")
        for finding in day.findings:
            typer.echo(f"  {finding}")
        good = good and not day.findings
        digests.add(day.digest)
    if noted is not None and not digests:
        typer.echo("No day is closed yet, so the digest cannot be compared with any.")
        return False
    if noted is not None and noted.lower() not in digests:
        typer.echo(f"no closed day has the digest {noted}: the chain was rewritten since")
        good = False
    typer.echo("The journal is whole." if good else "The journal is NOT as it was closed.")
    return good


@asynccontextmanager
async def reports_of(settings: Settings) -> AsyncIterator[tuple[Reports, Clock]]:
    """Report connections to production or to the running sandbox, with its clock."""
    database_url, _, clock = engines_of(settings)
    reports = await open_reports(database_url)
    try:
        yield reports, clock
    finally:
        reports.close()
