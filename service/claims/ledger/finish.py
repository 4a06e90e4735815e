"""Ends holds: confirmed, cancelled or expired, many in one statement (`finish.sql`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg

from service.claims.claim import Footprint
from service.claims.ledger.give_back import footprints, with_give_back
from service.claims.ledger.retry import retried
from service.core.calendar import business_day
from service.pools.state import PoolState, pool_states

FINISH_SQL = with_give_back("finish.sql")


@dataclass(frozen=True, slots=True)
class Ending:
    """A retailer's request to end one of its holds."""

    retailer_id: str
    claim_id: UUID
    to_state: Literal["confirmed", "cancelled"]


@dataclass(frozen=True, slots=True)
class FinishReport:
    """The claims that this statement itself ended, what they gave back, and the pools after it."""

    ended: frozenset[tuple[str, UUID]]  # retailer id, claim id
    expired: int
    freed: list[Footprint]
    pools: list[PoolState]


async def finish(
    connection: asyncpg.Connection,
    jurisdiction: str,
    endings: Sequence[Ending],
    now: datetime,
    *,
    due_max: int = 0,
) -> FinishReport:
    """End those of the holds that are still reserved, and up to `due_max` that are due to expire.

    Raises asyncpg's errors.
    """
    arguments = (
        [ending.claim_id for ending in endings],
        [ending.retailer_id for ending in endings],
        [ending.to_state for ending in endings],
        now,
        business_day(now),
        due_max,
    )
    row = await retried(lambda: connection.fetchrow(FINISH_SQL, jurisdiction, *arguments))
    return FinishReport(
        frozenset(zip(row["owners"] or (), row["ended"] or (), strict=True)),
        row["expired"],
        footprints(row),
        pool_states(row),
    )
