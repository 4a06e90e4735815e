"""Slices: extra rows of a pool, so that many workers can commit claims at once.

A commit locks the row that pays for its claims. A pool with one row makes every commit of every
worker wait for that row. With `BUTIE_POOL_PARTS=n` each pool has n extra rows, its slices: table
`pool_part`, numbered from 1. Number 0 stands for the pool's own row in table `pool`.

1. `set_aside` moves money to the slices before claims need it. It raises `escrow_fen` of the slice
   and of the pool's own row by the same amount, until the slices hold half of the balance.
2. `commit_claims.sql` pays all claims of a batch on one pool from one slice. It takes one that has
   enough money and that no other transaction has locked, so it never waits for a slice. If there is
   none, the pool's own row pays.
3. If the pool's own row is short, the commit fails and is run again with recall: the unspent money
   of all slices returns to the pool's own row first. So the last fen of a pool can be spent. A
   budget that is lowered recalls as well.
4. Refunds, cancelled and expired holds go back to the pool's own row, whichever row has paid.

Every move changes both rows by the same amount in one statement, so no fen is in two rows. Each row
has a constraint. A slice's `escrow_fen` is all that it may ever spend, and it spends no more. The
own row's `escrow_fen` is the sum of those. It spends at most the allocation minus that sum.
"""

from pathlib import Path

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.engine import driver

# 100,000 yuan. A smaller share is used up after a few batches, which then lock the pool's own row
# anyway. A pool whose share is smaller gets no new money into its slices.
SHARE_MIN_FEN = 10_000_000

# Pools in which a slice is missing, or has less than half of its share left.
_SHORT_SQL = """
SELECT pool, share_fen
FROM pool_total, LATERAL (SELECT (allocated_fen - spent_fen) / (2 * $2) AS share_fen) AS share
WHERE jurisdiction = $1 AND share_fen >= $3 AND $2 > (
    SELECT count(*) FROM pool_part AS p
    WHERE p.jurisdiction = $1 AND p.pool = pool_total.pool AND p.part <= $2
        AND p.escrow_fen - p.spent_fen >= share_fen / 2)
"""
# Skips slices that exist: ON CONFLICT alone would wait for each transaction that changes one.
_OPEN_SQL = """
INSERT INTO pool_part (jurisdiction, pool, part) SELECT $1, $2, n FROM generate_series(1, $3) AS n
WHERE NOT EXISTS (
    SELECT 1 FROM pool_part AS p WHERE p.jurisdiction = $1 AND p.pool = $2 AND p.part = n)
ON CONFLICT DO NOTHING
"""
_SET_ASIDE_SQL = (Path(__file__).parent / "set_aside.sql").read_text()
# Locks the slices first and the pool's own row last, and computes from the rows as they were
# locked, like commit_claims.sql. The gate does not know escrow, so the versions stay.
_RECALL_SQL = sa.text("""
WITH unspent AS (
    SELECT part, spent_fen, escrow_fen - spent_fen AS fen FROM pool_part
    WHERE jurisdiction = :jurisdiction AND pool = :pool
    ORDER BY part
    FOR NO KEY UPDATE
),
recalled AS (
    UPDATE pool_part AS p SET escrow_fen = unspent.spent_fen
    FROM unspent
    WHERE p.jurisdiction = :jurisdiction AND p.pool = :pool AND p.part = unspent.part
    RETURNING unspent.fen
),
locked AS (
    SELECT allocated_fen, escrow_fen, confirmed_fen, reserved_fen FROM pool
    WHERE jurisdiction = :jurisdiction AND pool = :pool AND (SELECT count(*) FROM recalled) >= 0
    FOR NO KEY UPDATE
)
UPDATE pool SET
    allocated_fen = locked.allocated_fen,
    escrow_fen = locked.escrow_fen - (SELECT coalesce(sum(fen), 0) FROM recalled),
    confirmed_fen = locked.confirmed_fen,
    reserved_fen = locked.reserved_fen
FROM locked
WHERE pool.jurisdiction = :jurisdiction AND pool.pool = :pool
""")


async def set_aside(engine: AsyncEngine, jurisdiction: str, slices: int) -> None:
    """Fill the slices 1 to `slices` of every pool up to their share: half of the pool's balance,
    divided by `slices`. May be repeated, and may run in several workers at once. Raises
    LedgerAway."""
    if not slices:
        return
    async with driver(engine) as connection:
        for row in await connection.fetch(_SHORT_SQL, jurisdiction, slices, SHARE_MIN_FEN):
            try:
                await _fill(connection, jurisdiction, row["pool"], slices, row["share_fen"])
            except asyncpg.CheckViolationError:
                pass  # the balance has changed since it was read: the next pass tries again


async def _fill(
    connection: asyncpg.Connection, jurisdiction: str, pool: str, slices: int, share_fen: int
) -> None:
    await connection.execute(_OPEN_SQL, jurisdiction, pool, slices)
    await connection.execute(_SET_ASIDE_SQL, jurisdiction, pool, slices, share_fen)


async def recall(connection: AsyncConnection, jurisdiction: str, pool: str) -> None:
    """Return the unspent money of all slices to the pool's own row, in the caller's transaction.
    Call it before that transaction locks the pool's own row: the opposite sequence can deadlock."""
    await connection.execute(_RECALL_SQL, {"jurisdiction": jurisdiction, "pool": pool})
