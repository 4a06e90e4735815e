"""The parts of a pool: rows beside its own that claims are spent from, so that the commits of many
workers need not queue for one row.

Money is set aside for them ahead of the claims, half of what is left at most; `commit.sql` takes
from a part that nobody else is using, and from the pool's own row when there is none. When that
row is short, or a budget is lowered, what the parts have left is recalled: the last fen can be
spent, and no two rows ever have the same one.
"""

from pathlib import Path

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.engine import driver

# 100,000 yuan: a part with less would send its claims back to the pool's own row too often, so
# the last of a pool is spent from that alone.
SHARE_MIN_FEN = 10_000_000

# Pools of which a part has less than half a share, or is not there yet.
_WANTING_SQL = """
SELECT pool, share_fen
FROM pool_total, LATERAL (SELECT (allocated_fen - spent_fen) / (2 * $2) AS share_fen) AS share
WHERE jurisdiction = $1 AND share_fen >= $3 AND $2 > (
    SELECT count(*) FROM pool_part AS p
    WHERE p.jurisdiction = $1 AND p.pool = pool_total.pool AND p.part <= $2
        AND p.escrow_fen - p.spent_fen >= share_fen / 2)
"""
# Those that are there are left out: an insert waits for whoever is changing a row that it would
# meet, and again for the next.
_OPEN_PARTS_SQL = """
INSERT INTO pool_part (jurisdiction, pool, part) SELECT $1, $2, n FROM generate_series(1, $3) AS n
WHERE NOT EXISTS (
    SELECT 1 FROM pool_part AS p WHERE p.jurisdiction = $1 AND p.pool = $2 AND p.part = n)
ON CONFLICT DO NOTHING
"""
_SET_ASIDE_SQL = (Path(__file__).parent / "set_aside.sql").read_text()
# Parts first, the pool's own row last, and all sums as the rows were locked: as in commit.sql.
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


async def set_aside(engine: AsyncEngine, jurisdiction: str, parts: int) -> None:
    """Let each of so many parts of every pool have its share. Harmless to repeat, and to run in
    several workers at once. Raises LedgerAway."""
    if not parts:
        return
    async with driver(engine) as connection:
        for row in await connection.fetch(_WANTING_SQL, jurisdiction, parts, SHARE_MIN_FEN):
            try:
                await _give(connection, jurisdiction, row["pool"], parts, row["share_fen"])
            except asyncpg.CheckViolationError:
                pass  # more than the half that is not set aside was spent meanwhile: next time


async def _give(
    connection: asyncpg.Connection, jurisdiction: str, pool: str, parts: int, share_fen: int
) -> None:
    await connection.execute(_OPEN_PARTS_SQL, jurisdiction, pool, parts)
    await connection.execute(_SET_ASIDE_SQL, jurisdiction, pool, parts, share_fen)


async def recall(connection: AsyncConnection, jurisdiction: str, pool: str) -> None:
    """Give the pool's own row back what its parts have not spent; in the caller's transaction,
    before it locks that row."""
    await connection.execute(_RECALL_SQL, {"jurisdiction": jurisdiction, "pool": pool})
