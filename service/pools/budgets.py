"""Budgets: how each pool stands, and the allocations that raise or lower it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.core.calendar import SHANGHAI, business_day
from service.db.tables import journal, pool, pool_total, tranche


@dataclass(frozen=True, slots=True)
class Budget:
    """A pool as the ledger has it; amounts in fen. `version` grows with every change. Of what is
    planned, the next part opens at `next_opens_at`."""

    pool: str
    allocated_fen: int
    confirmed_fen: int
    reserved_fen: int
    remaining_fen: int
    version: int
    planned_fen: int
    next_opens_at: datetime | None


_planned = (
    sa.select(
        sa.func.coalesce(sa.func.sum(tranche.c.amount_fen), 0).label("fen"),
        sa.func.min(tranche.c.opens_at).label("opens_at"),
    )
    .where(
        tranche.c.jurisdiction == pool_total.c.jurisdiction,
        tranche.c.pool == pool_total.c.pool,
        tranche.c.state == "planned",
    )
    .lateral()
)
_COLUMNS = (
    pool_total.c.pool,
    pool_total.c.allocated_fen,
    pool_total.c.confirmed_fen,
    pool_total.c.reserved_fen,
    (pool_total.c.allocated_fen - pool_total.c.spent_fen).label("remaining_fen"),
    pool_total.c.version,
    _planned.c.fen.cast(sa.BigInteger).label("planned_fen"),
    _planned.c.opens_at.label("next_opens_at"),
)


async def read_budgets(connection: AsyncConnection, jurisdiction: str) -> Sequence[Budget]:
    """Every pool of the jurisdiction, by name."""
    query = (
        sa.select(*_COLUMNS)
        .select_from(pool_total.join(_planned, sa.true()))
        .where(pool_total.c.jurisdiction == jurisdiction)
        .order_by(pool_total.c.pool)
    )
    return [_budget(row) for row in await connection.execute(query)]


def _budget(row: sa.Row[Any]) -> Budget:
    told = dict(row._mapping)
    opens_at = told.pop("next_opens_at")
    return Budget(**told, next_opens_at=opens_at and opens_at.astimezone(SHANGHAI))


@dataclass(frozen=True, slots=True)
class Allocation:
    """A change of a budget, and the paper that orders it. `delta_fen` may be negative."""

    pool: str
    delta_fen: int
    document_no: str
    note: str


async def open_pool(connection: AsyncConnection, jurisdiction: str, name: str) -> None:
    """Make sure that the pool is there, be it empty."""
    # Looked for first: an insert waits for whoever is changing the row that it would meet, again
    # and again where many do.
    there = sa.select(1).where(pool.c.jurisdiction == jurisdiction, pool.c.pool == name)
    if await connection.scalar(there):
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
    """Change the budget and book it, in the caller's transaction.

    Raises SQLAlchemy's IntegrityError when less would be left than is spent.
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
