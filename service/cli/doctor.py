"""`butie doctor`: checks whether an installation is fit to pay out money."""

import asyncio

import typer

from service.cli.faults import told
from service.cli.ledger import engines_of
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.doctor.check import Finding
from service.doctor.run import Engines, visit


def doctor_command() -> None:
    """Check settings, engines, schema, policies and certificates, and say what to do. Exits with 1
    on a fault, with 2 when something could not be checked."""
    with told():
        settings = Settings()
        findings = asyncio.run(_visit(settings, _engines(settings)))
    rows = [(name, finding.level, finding.said, finding.remedy) for name, finding in findings]
    print_table(("check", "verdict", "what is so", "what to do"), rows)
    levels = {finding.level for _, finding in findings}
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
    return [finding async for finding in visit(settings, engines)]
