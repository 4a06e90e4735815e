"""Budgets: how each pool stands, and the allocations that raise or lower it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.core.calendar import business_day
from service.db.tables import journal, pool


@dataclass(frozen=True, slots=True)
class Budget:
    """A pool as the ledger has it; amounts in fen. `version` grows with every change."""

    pool: str
    allocated_fen: int
    confirmed_fen: int
    reserved_fen: int
    remaining_fen: int
    version: int


_COLUMNS = (
    pool.c.pool,
    pool.c.allocated_fen,
    pool.c.confirmed_fen,
    pool.c.reserved_fen,
    (pool.c.allocated_fen - pool.c.spent_fen).label("remaining_fen"),
    pool.c.version,
)


async def read_budgets(connection: AsyncConnection, jurisdiction: str) -> Sequence[Budget]:
    """Every pool of the jurisdiction, by name."""
    query = sa.select(*_COLUMNS).where(pool.c.jurisdiction == jurisdiction).order_by(pool.c.pool)
    return [Budget(*row) for row in await connection.execute(query)]


@dataclass(frozen=True, slots=True)
class Allocation:
    """A change of a budget, and the paper that orders it. `delta_fen` may be negative."""

    pool: str
    delta_fen: int
    document_no: str
    note: str


async def allocate(
    connection: AsyncConnection, jurisdiction: str, allocation: Allocation, now: datetime
) -> None:
    """Change the budget and book it, in the caller's transaction.

    Raises SQLAlchemy's IntegrityError when less would be left than is spent.
    """
    opened = (
        sa.dialects.postgresql.insert(pool)
        .values(
            jurisdiction=jurisdiction,
            pool=allocation.pool,
            allocated_fen=0,
            confirmed_fen=0,
            reserved_fen=0,
            version=0,
        )
        .on_conflict_do_nothing()
    )
    await connection.execute(opened)
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
