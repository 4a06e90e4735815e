"""Tranches: money of a budget that is planned now and becomes available at a set time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.core.calendar import SHANGHAI, business_day
from service.db.acts import ActContext
from service.db.engine import driver
from service.db.tables import tranche
from service.pools.budgets import open_pool

# Tranches that one pass opens. The next pass follows half a second later.
OPEN_MAX = 50

_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_OPEN_SQL = (Path(__file__).parent / "open_tranches.sql").read_text()


@dataclass(frozen=True, slots=True)
class Tranche:
    """Money of a pool that becomes available at `opens_at`."""

    tranche_id: UUID
    pool: str
    opens_at: datetime
    amount_fen: int
    document_no: str
    state: str  # planned, opened, withdrawn
    ended_at: datetime | None


async def plan(
    context: ActContext,
    pool: str,
    opens_at: datetime,
    amount_fen: int,
    document_no: str,
    known_pools: Collection[str],
) -> Tranche | None:
    """Plan a tranche. If `opens_at` is past, it opens within a second. None: no such pool.

    A repeat returns the first tranche: a pool gets the same amount at the same time from one
    document only once.
    """
    if pool not in known_pools:
        return None
    await open_pool(context.connection, context.jurisdiction, pool)
    await context.connection.execute(_LOCK, {"name": f"{context.jurisdiction}:tranche:{pool}"})
    same = sa.select(*_COLUMNS).where(
        tranche.c.jurisdiction == context.jurisdiction,
        tranche.c.pool == pool,
        tranche.c.opens_at == opens_at,
        tranche.c.amount_fen == amount_fen,
        tranche.c.document_no == document_no,
        tranche.c.state != "withdrawn",
    )
    if (row := (await context.connection.execute(same)).first()) is not None:
        return _tranche(row)
    planned = Tranche(
        uuid4(), pool, opens_at.astimezone(SHANGHAI), amount_fen, document_no, "planned", None
    )
    await context.connection.execute(
        sa.insert(tranche).values(
            jurisdiction=context.jurisdiction,
            tranche_id=planned.tranche_id,
            pool=pool,
            opens_at=opens_at,
            amount_fen=amount_fen,
            document_no=document_no,
            state="planned",
            planned_at=context.now,
        )
    )
    await context.record(
        "tranche.plan", "tranche", str(planned.tranche_id), after=_recorded(planned)
    )
    return planned


async def withdraw(context: ActContext, pool: str, tranche_id: UUID) -> Tranche | None:
    """Withdraw a tranche if it is still planned. The returned state is `opened` if it was too
    late. None: the pool has no such tranche."""
    same = sa.and_(
        tranche.c.jurisdiction == context.jurisdiction,
        tranche.c.tranche_id == tranche_id,
        tranche.c.pool == pool,
    )
    withdrawn = await context.connection.execute(
        sa.update(tranche)
        .where(same, tranche.c.state == "planned")
        .values(state="withdrawn", ended_at=context.now)
    )
    row = (await context.connection.execute(sa.select(*_COLUMNS).where(same))).one_or_none()
    if row is None:
        return None
    if withdrawn.rowcount:
        await context.record(
            "tranche.withdraw",
            "tranche",
            str(tranche_id),
            before={"state": "planned"},
            after={"state": "withdrawn"},
        )
    return _tranche(row)


async def list_tranches(
    connection: AsyncConnection, jurisdiction: str, pool: str | None = None
) -> Sequence[Tranche]:
    """The 1,000 latest tranches of a pool, or of all pools, in the order of `opens_at`."""
    query = sa.select(*_COLUMNS).where(tranche.c.jurisdiction == jurisdiction)
    if pool is not None:
        query = query.where(tranche.c.pool == pool)
    query = query.order_by(tranche.c.opens_at.desc(), tranche.c.tranche_id).limit(1000)
    return [_tranche(row) for row in await connection.execute(query)][::-1]


async def open_due(engine: AsyncEngine, jurisdiction: str, now: datetime) -> int:
    """Open the tranches that are due, at most OPEN_MAX of them. Returns their number. Several
    workers may do this at once: each tranche opens once. Raises LedgerAway."""
    async with driver(engine) as connection:
        opened = await connection.fetchval(
            _OPEN_SQL, jurisdiction, now, business_day(now), OPEN_MAX
        )
    return int(opened)


_COLUMNS = [tranche.c[name] for name in Tranche.__dataclass_fields__]


def _tranche(row: sa.Row[tuple[object, ...]]) -> Tranche:
    return Tranche(
        *(cell.astimezone(SHANGHAI) if isinstance(cell, datetime) else cell for cell in row)  # type: ignore[arg-type]
    )


def _recorded(planned: Tranche) -> dict[str, object]:
    return {
        "pool": planned.pool,
        "opens_at": planned.opens_at.isoformat(),
        "amount_fen": planned.amount_fen,
        "document_no": planned.document_no,
    }
