"""How the rows of a pool stand, as the statements that change them say."""

from collections.abc import Iterable
from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True, slots=True)
class PoolState:
    """One row of a pool as of one version of it: the pool's own (part 0) or a part's. What is
    left of the pool is its allocation less what all of its rows have spent. Amounts in fen."""

    pool: str
    part: int
    allocated_fen: int  # 0 in a part
    spent_fen: int
    version: int
    bypasses: int  # commits of claims that the gate was not asked about


def pool_states(row: asyncpg.Record) -> list[PoolState]:
    """The pools that a statement has changed, from its columns of arrays."""
    names = ("pools", "parts", "allocated_fen", "spent_fen", "version", "bypasses")
    return list(map(PoolState, *(row[name] or () for name in names)))


def pools_left(states: Iterable[PoolState]) -> dict[str, int]:
    """What is left of each pool, from all of its rows."""
    left: dict[str, int] = {}
    for state in states:
        left[state.pool] = left.get(state.pool, 0) + state.allocated_fen - state.spent_fen
    return left
