"""Runs the migrations over asyncpg, one runner at a time."""

import asyncio
import time
from functools import partial
from logging.config import dictConfig

import asyncpg
import sqlalchemy as sa
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

from service.db.engine import LOCK_TIMEOUT_MS
from service.db.tables import metadata

dictConfig({"version": 1, "disable_existing_loggers": False})

# Two deployments that start at the same time must not migrate at the same time.
MIGRATION_LOCK = 0x42757469
LOCK_POLL_S = 0.1


def _migrate(connection: sa.Connection) -> None:
    # Waiting for another runner blocks no claim, so it has no limit. It holds no transaction: an
    # index that is built CONCURRENTLY waits for every older one.
    ours = sa.text("SELECT pg_try_advisory_lock(:key)")
    while not connection.scalar(ours, {"key": MIGRATION_LOCK}):
        connection.commit()
        time.sleep(LOCK_POLL_S)
    # While a migration waits for a table, every claim queues behind it: give up soon, and retry.
    connection.execute(sa.text(f"SET lock_timeout = '{LOCK_TIMEOUT_MS}ms'"))
    connection.commit()
    context.configure(
        connection=connection, target_metadata=metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run() -> None:
    database_url = context.config.attributes["database_url"]
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=partial(asyncpg.connect, database_url),
        poolclass=sa.NullPool,
    )
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(_run())
