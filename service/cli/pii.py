"""`butie pii`: a new personal-data key for the ledger's digests, while claims go on.

It connects as the tables' owner, like `butie migrate`: the service's role may not do this.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import typer

from service.claims.people.digests import Digester
from service.claims.people.rotation import forget, rotate
from service.cli.faults import faults_reported
from service.cli.ledger import engines_of
from service.config import Misconfigured, Settings
from service.db.away import driver_url

app = typer.Typer(name="pii", help="The personal-data key.", no_args_is_help=True)

Step = Callable[[asyncpg.Connection, str, Digester], AsyncIterator[int]]


@app.command("rotate")
def rotate_command() -> None:
    """Add the newest key's digests, once every worker has BUTIE_PII_ROTATING. It may be interrupted
    and run again."""
    _run(rotate, "{changed} lines have the newest key's digests. Unset BUTIE_PII_ROTATING now.")


@app.command("forget")
def forget_command() -> None:
    """Remove the former key's digests, once no worker has BUTIE_PII_ROTATING any more."""
    _run(forget, "{changed} claims have no digest of the former key any more.")


def _run(step: Step, sentence: str) -> None:
    with faults_reported():
        changed = asyncio.run(_walk(Settings(), step))
    typer.echo(sentence.format(changed=changed))


async def _walk(settings: Settings, step: Step) -> int:
    database_url, _, _ = engines_of(settings)
    digester = Digester(*settings.personal_data_keys(), rotating=settings.pii_rotating)
    try:
        connection = await asyncpg.connect(
            driver_url(database_url), timeout=5, server_settings={"application_name": "butie pii"}
        )
    except (OSError, asyncpg.PostgresError) as error:
        raise Misconfigured(f"PostgreSQL cannot be reached: {error}") from None
    try:
        return sum([changed async for changed in step(connection, settings.jurisdiction, digester)])
    finally:
        await connection.close()
