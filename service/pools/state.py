"""The rows of a pool, as the ledger has them: what the gate and the claim path follow."""

from collections.abc import Iterable
from dataclasses import dataclass

import asyncpg

_ROWS_SQL = """
SELECT pool, 0, allocated_fen, spent_fen, version, bypasses FROM pool WHERE jurisdiction = $1
UNION ALL
SELECT pool, part, 0, spent_fen, version, bypasses FROM pool_part WHERE jurisdiction = $1
"""


@dataclass(frozen=True, slots=True)
class PoolState:
    """One row of a pool at one version: the pool's own row (`slice_no` 0) or a slice. The balance
    of the pool is its allocation minus what all its rows have spent. Amounts in fen."""

    pool: str
    slice_no: int
    allocated_fen: int  # 0 in a slice
    spent_fen: int
    version: int
    bypasses: int  # commits of claims that did not pass the gate


async def read_pools(connection: asyncpg.Connection, jurisdiction: str) -> list[PoolState]:
    """Every row of every pool. Raises asyncpg's errors."""
    return [PoolState(*row) for row in await connection.fetch(_ROWS_SQL, jurisdiction)]


def pool_states(row: asyncpg.Record) -> list[PoolState]:
    """The pool rows that a statement has changed, from the arrays in its result. An array is null
    if no row was changed."""
    names = ("pools", "parts", "allocated_fen", "spent_fen", "version", "bypasses")
    return list(map(PoolState, *(row[name] or () for name in names)))


def pools_left(states: Iterable[PoolState]) -> dict[str, int]:
    """The balance of each pool in fen. `states` must contain every row of a pool."""
    left: dict[str, int] = {}
    for state in states:
        left[state.pool] = left.get(state.pool, 0) + state.allocated_fen - state.spent_fen
    return left
