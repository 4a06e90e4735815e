"""Adjustments: a budget is raised or lowered by a paper, once for each Idempotency-Key."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from service.core.calendar import SHANGHAI
from service.db.acts import Office
from service.db.tables import adjustment, pool
from service.pools.budgets import Allocation, allocate, open_pool
from service.pools.escrow import recall

_LOCK_KEY = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")

# A trillion yuan: above every budget there is, and exact in JSON, Lua and bigint.
BUDGET_MAX_FEN = 10**14


@dataclass(frozen=True, slots=True)
class Adjustment:
    """An adjustment as made: `allocated_fen` is the budget after it."""

    pool: str
    delta_fen: int
    reason: str
    document_no: str
    allocated_fen: int
    made_at: datetime
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class BelowSpent:
    """Less would be left than is spent; at most `free_fen` can be taken."""

    free_fen: int


@dataclass(frozen=True, slots=True)
class AboveAll:
    """The budget would pass BUDGET_MAX_FEN."""


@dataclass(frozen=True, slots=True)
class NoSuchPool:
    """Neither the ledger nor a policy knows the pool."""


@dataclass(frozen=True, slots=True)
class OtherBody:
    """The key was used for another adjustment."""


async def adjust(
    office: Office, key: str, allocation: Allocation, known_pools: Collection[str]
) -> Adjustment | BelowSpent | AboveAll | NoSuchPool | OtherBody:
    """Change the budget, book it and put it on record, in the office's transaction."""
    if allocation.pool not in known_pools:
        return NoSuchPool()
    await open_pool(office.connection, office.jurisdiction, allocation.pool)
    # These locks let a repeat that arrives meanwhile, for another pool too, find what the first
    # has done.
    await office.connection.execute(_LOCK_KEY, {"name": f"{office.jurisdiction}:{key}"})
    if allocation.delta_fen < 0:  # what the parts have not spent can be taken, too
        await recall(office.connection, office.jurisdiction, allocation.pool)
    spoken_for = (pool.c.spent_fen + pool.c.escrow_fen).label("fen")
    query = sa.select(pool.c.allocated_fen, spoken_for).where(
        pool.c.jurisdiction == office.jurisdiction, pool.c.pool == allocation.pool
    )
    before = (await office.connection.execute(query.with_for_update())).one()
    made = await _made_before(office, key)
    if made is not None:
        wanted = (allocation.pool, allocation.delta_fen, allocation.note, allocation.document_no)
        same = wanted == (made.pool, made.delta_fen, made.reason, made.document_no)
        return replace(made, replayed=True) if same else OtherBody()
    after_fen = before.allocated_fen + allocation.delta_fen
    if after_fen < before.fen:
        return BelowSpent(before.allocated_fen - before.fen)
    if after_fen > BUDGET_MAX_FEN:
        return AboveAll()
    return await _make(office, key, allocation, before.allocated_fen)


async def _make(office: Office, key: str, allocation: Allocation, before_fen: int) -> Adjustment:
    made = Adjustment(
        pool=allocation.pool,
        delta_fen=allocation.delta_fen,
        reason=allocation.note,
        document_no=allocation.document_no,
        allocated_fen=before_fen + allocation.delta_fen,
        made_at=office.now.astimezone(SHANGHAI),
    )
    await allocate(office.connection, office.jurisdiction, allocation, office.now)
    await office.connection.execute(
        sa.insert(adjustment).values(
            jurisdiction=office.jurisdiction,
            idempotency_key=key,
            pool=made.pool,
            delta_fen=made.delta_fen,
            reason=made.reason,
            document_no=made.document_no,
            allocated_fen=made.allocated_fen,
            made_at=office.now,
        )
    )
    await office.record(
        "budget.adjust",
        "pool",
        made.pool,
        before={"allocated_fen": before_fen},
        after={
            "allocated_fen": made.allocated_fen,
            "reason": made.reason,
            "document_no": made.document_no,
        },
    )
    return made


async def _made_before(office: Office, key: str) -> Adjustment | None:
    columns = [
        adjustment.c[name]
        for name in ("pool", "delta_fen", "reason", "document_no", "allocated_fen", "made_at")
    ]
    query = sa.select(*columns).where(
        adjustment.c.jurisdiction == office.jurisdiction, adjustment.c.idempotency_key == key
    )
    row = (await office.connection.execute(query)).one_or_none()
    if row is None:
        return None
    told = dict(row._mapping)
    return Adjustment(made_at=told.pop("made_at").astimezone(SHANGHAI), **told)
