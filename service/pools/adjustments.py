"""Adjustments: a document raises or lowers a budget, once for each Idempotency-Key."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from service.core.calendar import SHANGHAI
from service.db.acts import ActContext
from service.db.tables import adjustment, pool
from service.pools.budgets import Allocation, allocate, open_pool
from service.pools.slices import recall

_LOCK_KEY = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")

# A trillion yuan: above any real budget, and exact in JSON, Lua and bigint.
BUDGET_MAX_FEN = 10**14


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A booked adjustment. `allocated_fen` is the budget after it."""

    pool: str
    delta_fen: int
    reason: str
    document_no: str
    allocated_fen: int
    made_at: datetime
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class BelowSpent:
    """The budget would fall below what is spent. At most `free_fen` can be taken."""

    free_fen: int


@dataclass(frozen=True, slots=True)
class AboveAll:
    """The budget would pass BUDGET_MAX_FEN."""


@dataclass(frozen=True, slots=True)
class NoSuchPool:
    """No policy has the pool."""


@dataclass(frozen=True, slots=True)
class OtherBody:
    """The Idempotency-Key was used for another adjustment."""


async def adjust(
    context: ActContext, key: str, allocation: Allocation, known_pools: Collection[str]
) -> Adjustment | BelowSpent | AboveAll | NoSuchPool | OtherBody:
    """Change the budget, book the change and record the act, in one transaction."""
    if allocation.pool not in known_pools:
        return NoSuchPool()
    await open_pool(context.connection, context.jurisdiction, allocation.pool)
    # A repeat that arrives at the same time waits here, also one for another pool, and then finds
    # the first adjustment.
    await context.connection.execute(_LOCK_KEY, {"name": f"{context.jurisdiction}:{key}"})
    if allocation.delta_fen < 0:  # the unspent money of the slices can be taken as well
        await recall(context.connection, context.jurisdiction, allocation.pool)
    committed_fen = (pool.c.spent_fen + pool.c.escrow_fen).label("committed_fen")
    query = sa.select(pool.c.allocated_fen, committed_fen).where(
        pool.c.jurisdiction == context.jurisdiction, pool.c.pool == allocation.pool
    )
    before = (await context.connection.execute(query.with_for_update())).one()
    earlier = await _find(context, key)
    if earlier is not None:
        return replace(earlier, replayed=True) if _orders(allocation, earlier) else OtherBody()
    after_fen = before.allocated_fen + allocation.delta_fen
    if after_fen < before.committed_fen:
        return BelowSpent(before.allocated_fen - before.committed_fen)
    if after_fen > BUDGET_MAX_FEN:
        return AboveAll()
    return await _book(context, key, allocation, before.allocated_fen)


def _orders(allocation: Allocation, earlier: Adjustment) -> bool:
    """Whether the earlier adjustment was made by an equal request."""
    order = (allocation.pool, allocation.delta_fen, allocation.note, allocation.document_no)
    return order == (earlier.pool, earlier.delta_fen, earlier.reason, earlier.document_no)


async def _book(
    context: ActContext, key: str, allocation: Allocation, before_fen: int
) -> Adjustment:
    booked = Adjustment(
        pool=allocation.pool,
        delta_fen=allocation.delta_fen,
        reason=allocation.note,
        document_no=allocation.document_no,
        allocated_fen=before_fen + allocation.delta_fen,
        made_at=context.now.astimezone(SHANGHAI),
    )
    await allocate(context.connection, context.jurisdiction, allocation, context.now)
    await context.connection.execute(
        sa.insert(adjustment).values(
            jurisdiction=context.jurisdiction,
            idempotency_key=key,
            pool=booked.pool,
            delta_fen=booked.delta_fen,
            reason=booked.reason,
            document_no=booked.document_no,
            allocated_fen=booked.allocated_fen,
            made_at=context.now,
        )
    )
    await context.record(
        "budget.adjust",
        "pool",
        booked.pool,
        before={"allocated_fen": before_fen},
        after={
            "allocated_fen": booked.allocated_fen,
            "reason": booked.reason,
            "document_no": booked.document_no,
        },
    )
    return booked


async def _find(context: ActContext, key: str) -> Adjustment | None:
    columns = [
        adjustment.c[name]
        for name in ("pool", "delta_fen", "reason", "document_no", "allocated_fen", "made_at")
    ]
    query = sa.select(*columns).where(
        adjustment.c.jurisdiction == context.jurisdiction, adjustment.c.idempotency_key == key
    )
    row = (await context.connection.execute(query)).one_or_none()
    if row is None:
        return None
    fields = dict(row._mapping)
    return Adjustment(made_at=fields.pop("made_at").astimezone(SHANGHAI), **fields)
