"""Checks whether this process can serve, and says what is wrong if it cannot."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.engine import MIGRATIONS, LedgerAway, connect

_READ_ONLY = sa.text("SELECT current_setting('transaction_read_only')")


async def ledger_fault(engine: AsyncEngine) -> str:
    """Why the ledger cannot be used; empty when it answers and has this release's schema."""
    try:
        return await schema_fault(engine)
    except LedgerAway:
        return "PostgreSQL does not answer"


async def schema_fault(engine: AsyncEngine) -> str:
    """What this release lacks in the schema; empty when it lacks nothing. Raises LedgerAway.

    A newer schema is fine: while a release is rolled out the former one goes on serving, and
    migrations only add what it does not read.
    """
    try:
        async with connect(engine) as connection:
            if await connection.scalar(_READ_ONLY) == "on":
                return "PostgreSQL may only be read: a standby, or a failover is under way"
            revision = await connection.run_sync(_revision)
    except sa.exc.ProgrammingError:
        revision = None
    if revision is None or revision < released_revision():
        return f"the schema is at {revision}, this release needs a `butie migrate`"
    return ""


def released_revision() -> str:
    """The newest migration of this release; their numbers ascend."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return ScriptDirectory.from_config(config).get_current_head() or ""


def _revision(connection: sa.Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()
