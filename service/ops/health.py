"""Whether this process can do its work, and what is wrong if not."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.engine import MIGRATIONS, LedgerAway, connect

_READ_ONLY = sa.text("SELECT current_setting('transaction_read_only')")


async def ledger_fault(engine: AsyncEngine) -> str:
    """What keeps the ledger from being used; empty when it answers and has this schema."""
    try:
        return await schema_fault(engine)
    except LedgerAway:
        return "PostgreSQL does not answer"


async def schema_fault(engine: AsyncEngine) -> str:
    """What this release misses in the schema, or nothing. Raises LedgerAway.

    A newer schema will do: while a release is rolled out the old one must go on serving, and
    migrations only add what it does not look at.
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
