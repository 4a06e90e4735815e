"""Checks whether this process can serve, and says what is wrong if it cannot."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.engine import MIGRATIONS, LedgerAway, connect

_REVISION = sa.text("SELECT version_num FROM alembic_version")
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
            at = await connection.scalar(_REVISION)
    except sa.exc.ProgrammingError:
        at = None
    if at is None or at < released_revision():
        return f"the schema is at {at}, this release needs a `butie migrate`"
    return ""


async def revision(engine: AsyncEngine) -> str | None:
    """The newest migration that was run; None in an empty database. Raises LedgerAway."""
    try:
        async with connect(engine) as connection:
            at: str | None = await connection.scalar(_REVISION)
            return at
    except sa.exc.ProgrammingError:
        return None


def released_revision() -> str:
    """The newest migration of this release; their numbers ascend, and their files begin with them.

    Alembic is not asked: every worker that serves would keep it in memory.
    """
    return max(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("0*.py"))
