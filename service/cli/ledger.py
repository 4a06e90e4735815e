"""Where the command line acts: the production ledger, or the running sandbox's."""

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from service import sandbox
from service.cli.faults import faults_reported
from service.clock import Clock
from service.config import Misconfigured, Settings
from service.db.acts import ActContext
from service.db.engine import connect, make_engine
from service.embedded import postgres, valkey

# Enrolling thousands of stores is one act.
ACT_WITHIN_S = 120

_Result = TypeVar("_Result")


def act(work: Callable[[ActContext], Awaitable[_Result]]) -> _Result:
    """Do the work in one transaction, as the person at the keyboard; report faults in sentences."""
    with faults_reported():
        return asyncio.run(_act(work))


async def _act(work: Callable[[ActContext], Awaitable[_Result]]) -> _Result:
    async with _act_context(Settings()) as context:
        return await work(context)


@asynccontextmanager
async def _act_context(settings: Settings) -> AsyncIterator[ActContext]:
    database_url, _, clock = engines_of(settings)
    engine = make_engine(database_url, connections_max=1, statement_s=ACT_WITHIN_S)
    try:
        async with connect(engine, within_s=ACT_WITHIN_S) as connection:
            yield ActContext(connection, settings.jurisdiction, f"cli:{_user()}", clock.now())
    finally:
        await engine.dispose()


def _user() -> str:
    """Who is at the keyboard: LOGNAME or USER, the account's name, or its number in a container
    that has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def engines_of(settings: Settings) -> tuple[str, str | None, Clock]:
    """(database URL, Redis URL if there is one, clock) of production or of the running sandbox.
    Raises Misconfigured."""
    if settings.database_url is not None:
        redis_url = str(settings.redis_url) if settings.redis_url else None
        return str(settings.database_url), redis_url, Clock()
    database_url = postgres.running_url(settings.data_dir)
    kept = sandbox.read_clock(settings.data_dir)
    if database_url is None or kept is None:
        raise Misconfigured(
            "Set BUTIE_DATABASE_URL, or start a sandbox: none is running on "
            f"{settings.data_dir} (BUTIE_DATA_DIR)."
        )
    return database_url, valkey.running_url(settings.data_dir), Clock(kept.offset)
