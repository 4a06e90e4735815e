"""`butie doctor`: is this installation fit to pay out money?"""

import asyncio

import typer

from service.cli.faults import told
from service.cli.ledger import engines_of
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.doctor.check import Finding
from service.doctor.run import Engines, visit


def doctor_command() -> None:
    """Look at settings, engines, schema, policies and certificates, and say what to mend; exit
    with 1 when something must be mended, with 2 when only something could not be looked at."""
    with told():
        settings = Settings()
        findings = asyncio.run(_visit(settings, _engines(settings)))
    rows = [(name, found.level, found.said, found.remedy) for name, found in findings]
    print_table(("check", "verdict", "what is so", "what to do"), rows)
    levels = {found.level for _, found in findings}
    if "fault" in levels:
        raise typer.Exit(1)
    if "unknown" in levels:
        raise typer.Exit(2)


def _engines(settings: Settings) -> Engines:
    if not settings.sandbox:
        urls = (settings.database_url, settings.redis_url)
        return Engines(*(None if url is None else str(url) for url in urls))
    try:
        database_url, redis_url, _ = engines_of(settings)
    except Misconfigured:  # no sandbox is running
        return Engines(None, None)
    return Engines(database_url, redis_url)


async def _visit(settings: Settings, engines: Engines) -> list[tuple[str, Finding]]:
    return [found async for found in visit(settings, engines)]
