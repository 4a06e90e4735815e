"""`butie doctor`: checks whether an installation is fit to pay out money."""

import asyncio

import typer

from service.cli.faults import faults_reported
from service.cli.ledger import engines_of
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.doctor.check import CheckResult
from service.doctor.run import EngineUrls, visit


def doctor_command() -> None:
    """Check settings, engines, schema, policies and certificates, and say what to do. Exits with 1
    on a fault, with 2 when something could not be checked."""
    with faults_reported():
        settings = Settings()
        results = asyncio.run(_visit(settings, _engines(settings)))
    rows = [(name, result.level, result.fact, result.remedy) for name, result in results]
    print_table(("check", "verdict", "what is so", "what to do"), rows)
    levels = {result.level for _, result in results}
    if "fault" in levels:
        raise typer.Exit(1)
    if "unknown" in levels:
        raise typer.Exit(2)


def _engines(settings: Settings) -> EngineUrls:
    if not settings.sandbox:
        urls = (settings.database_url, settings.redis_url)
        return EngineUrls(*(None if url is None else str(url) for url in urls))
    try:
        database_url, redis_url, _ = engines_of(settings)
    except Misconfigured:  # no sandbox is running
        return EngineUrls(None, None)
    return EngineUrls(database_url, redis_url)


async def _visit(settings: Settings, engines: EngineUrls) -> list[tuple[str, CheckResult]]:
    return [result async for result in visit(settings, engines)]
