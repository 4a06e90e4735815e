"""Budgets: the state of each pool, and the allocations that raise or lower it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.core.calendar import SHANGHAI, business_day
from service.db.tables import journal, pool

_READ_SQL = (Path(__file__).parent / "read_budgets.sql").read_text()


@dataclass(frozen=True, slots=True)
class Budget:
    """A pool as the ledger has it. Amounts in fen. `version` grows with every change.
    `planned_fen` is the sum of the planned tranches; the next of them opens at `next_opens_at`."""

    pool: str
    allocated_fen: int
    confirmed_fen: int
    reserved_fen: int
    remaining_fen: int
    version: int
    planned_fen: int
    next_opens_at: datetime | None


async def read_budgets(connection: asyncpg.Connection, jurisdiction: str) -> list[Budget]:
    """Every pool of the jurisdiction, by name. Raises asyncpg's errors."""
    return [_budget(row) for row in await connection.fetch(_READ_SQL, jurisdiction)]


def _budget(row: asyncpg.Record) -> Budget:
    fields = dict(row)
    opens_at = fields.pop("next_opens_at")
    return Budget(**fields, next_opens_at=opens_at and opens_at.astimezone(SHANGHAI))


@dataclass(frozen=True, slots=True)
class Allocation:
    """A change of a budget, and the document that orders it. `delta_fen` may be negative."""

    pool: str
    delta_fen: int
    document_no: str
    note: str


async def open_pool(connection: AsyncConnection, jurisdiction: str, name: str) -> None:
    """Create the pool with no money if it does not exist."""
    # SELECT first: the insert would wait for every transaction that is changing the pool's row.
    known = sa.select(1).where(pool.c.jurisdiction == jurisdiction, pool.c.pool == name)
    if await connection.scalar(known):
        return
    await connection.execute(
        sa.dialects.postgresql.insert(pool)
        .values(
            jurisdiction=jurisdiction,
            pool=name,
            allocated_fen=0,
            confirmed_fen=0,
            reserved_fen=0,
            version=0,
        )
        .on_conflict_do_nothing()
    )


async def allocate(
    connection: AsyncConnection, jurisdiction: str, allocation: Allocation, now: datetime
) -> None:
    """Change the budget and book the change in the journal, in the caller's transaction.

    Raises SQLAlchemy's IntegrityError if the new budget is below what is spent or set aside.
    """
    await open_pool(connection, jurisdiction, allocation.pool)
    await connection.execute(
        sa.update(pool)
        .where(pool.c.jurisdiction == jurisdiction, pool.c.pool == allocation.pool)
        .values(
            allocated_fen=pool.c.allocated_fen + allocation.delta_fen,
            version=pool.c.version + 1,
        )
    )
    await connection.execute(
        sa.insert(journal).values(
            jurisdiction=jurisdiction,
            kind="allocation",
            booked_on=sa.func.booking_day(jurisdiction, business_day(now)),
            booked_at=now,
            pool=allocation.pool,
            amount_fen=allocation.delta_fen,
            document_no=allocation.document_no,
            note=allocation.note,
        )
    )
