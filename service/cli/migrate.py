"""`butie migrate`."""

import asyncio
import time
from typing import Annotated

import typer

from service.cli.faults import faults_reported
from service.config import Misconfigured, Settings
from service.db.engine import LedgerAway, make_engine, migrate
from service.db.role import grant_to_service
from service.ops.health import ledger_fault


def migrate_command(
    wait_s: Annotated[
        int,
        typer.Option(
            "--wait",
            min=0,
            help="Migrate nothing: wait up to this many seconds for another process to do it.",
        ),
    ] = 0,
) -> None:
    """Bring the database's schema to this release's version, and let BUTIE_SERVICE_ROLE use it."""
    with faults_reported():
        settings = Settings()
        if settings.database_url is None:
            raise Misconfigured("Set BUTIE_DATABASE_URL. The sandbox migrates by itself.")
        database_url = str(settings.database_url)
        if wait_s:
            asyncio.run(_wait_for_schema(database_url, wait_s))
            return
        migrate(database_url)
        if settings.service_role is not None:
            asyncio.run(grant_to_service(database_url, settings.service_role))


async def _wait_for_schema(database_url: str, wait_s: int) -> None:
    engine = make_engine(database_url, connections_max=1)
    deadline = time.monotonic() + wait_s
    try:
        while fault := await ledger_fault(engine):
            if time.monotonic() > deadline:
                raise LedgerAway(f"Waited {wait_s} s for the schema: {fault}")
            await asyncio.sleep(1)
    finally:
        await engine.dispose()
