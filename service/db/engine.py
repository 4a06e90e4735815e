"""Engines and connections to PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

MIGRATIONS = Path(__file__).parents[2] / "migrations"

# A statement that takes longer than this is not slow but stuck: a batch takes milliseconds.
STATEMENT_TIMEOUT_S = 5
CONNECT_TIMEOUT_S = 2


class LedgerAway(Exception):
    """PostgreSQL did not answer. What became of the statement is unknown."""


def async_url(database_url: str) -> str:
    """The URL with SQLAlchemy's driver in its scheme."""
    return urlunsplit(urlsplit(database_url)._replace(scheme="postgresql+asyncpg"))


def make_engine(database_url: str, *, connections_max: int = 10) -> AsyncEngine:
    return create_async_engine(
        async_url(database_url),
        pool_size=connections_max,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_use_lifo=True,
        hide_parameters=True,  # an error that is logged must not tell what was sent
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": STATEMENT_TIMEOUT_S,
            "server_settings": {"application_name": "butie", "timezone": "UTC"},
        },
    )


# What says that PostgreSQL, or the way to it, is gone, and not that a statement was wrong.
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)


@asynccontextmanager
async def connect(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A pooled connection in a transaction that commits at the end. Raises LedgerAway."""
    try:
        async with engine.begin() as connection:
            yield connection
    except (*_AWAY, PoolTimeout, OperationalError, InterfaceError) as error:
        raise LedgerAway("PostgreSQL did not answer") from error


@asynccontextmanager
async def driver(engine: AsyncEngine) -> AsyncIterator[asyncpg.Connection]:
    """A pooled connection as asyncpg has it, for statements on the claim path.

    SQLAlchemy's own execution costs more than these statements do.
    Raises LedgerAway when there is no connection, or it broke.
    """
    try:
        connection = await engine.connect()
    except (OSError, TimeoutError, DBAPIError, PoolTimeout, asyncpg.PostgresError) as error:
        raise LedgerAway("no connection to PostgreSQL") from error
    try:
        yield (await connection.get_raw_connection()).driver_connection
    except _AWAY as error:
        await connection.invalidate()
        raise LedgerAway("PostgreSQL did not answer") from error
    finally:
        await connection.close()


def migrate(database_url: str) -> None:
    """Bring the schema to this release's version. Safe to run from several hosts at once."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["database_url"] = async_url(database_url)
    command.upgrade(config, "head")
