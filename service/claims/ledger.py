"""The ledger: PostgreSQL, the truth. It says yes durably, and its constraints say no."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from service.claims.claim import Attempt, Claim, PendingClaim, WantedLine
from service.claims.commit import Commit, Committed, PoolState, Verdict
from service.claims.standing import Standing, read_standing
from service.claims.stored import KeyedClaim, claim_by_id, claim_by_key
from service.db.engine import LedgerAway, driver

# How often, and how far apart, the ledger is asked what became of a commit.
RESOLVE_TRIES = 5
RESOLVE_S = 0.1

_POOLS_SQL = """
SELECT pool, allocated_fen, spent_fen, version FROM pool WHERE jurisdiction = $1
"""
_FATE_SQL = "SELECT claim_id FROM claim WHERE claim_id = ANY ($1::uuid[])"
# The fence stands in the row that the commit itself must write: whichever comes first wins.
_FENCE_SQL = """
INSERT INTO idempotency_key AS k (jurisdiction, retailer_id, idempotency_key, fenced)
SELECT $1, f.retailer_id, f.idempotency_key, array_agg(f.claim_id)
FROM unnest($2::text[], $3::text[], $4::uuid[]) AS f (retailer_id, idempotency_key, claim_id)
GROUP BY f.retailer_id, f.idempotency_key
ORDER BY f.retailer_id, f.idempotency_key
ON CONFLICT (jurisdiction, retailer_id, idempotency_key) DO UPDATE
    SET fenced = k.fenced || excluded.fenced
    WHERE k.claim_id IS NULL
"""


@dataclass(frozen=True, slots=True)
class CommitReport:
    """A verdict for each claim of the batch, in order, and the pools as they stand after it."""

    verdicts: list[Verdict]
    pools: list[PoolState]


class Ledger:
    """The ledger of one jurisdiction. Every method raises LedgerAway when it does not answer."""

    def __init__(self, engine: AsyncEngine, jurisdiction: str) -> None:
        self._engine = engine
        self._jurisdiction = jurisdiction

    async def commit(self, batch: Sequence[PendingClaim]) -> CommitReport:
        """Commit what can stand of the batch.

        A connection that breaks on the way leaves the outcome unknown: then the claims are
        given up, and those that turn out to have been committed all the same are reported so.
        """
        try:
            async with driver(self._engine) as connection:
                commit = Commit(connection, self._jurisdiction)
                verdicts = await commit.run(batch)
                return CommitReport(verdicts, list(commit.pools.values()))
        except LedgerAway:
            committed = await self._resolve(batch)
            if len(committed) < len(batch):
                raise
            return CommitReport([Committed()] * len(batch), await self.pools())

    async def _resolve(self, batch: Sequence[PendingClaim]) -> set[UUID]:
        for attempt in range(1, RESOLVE_TRIES + 1):
            await asyncio.sleep(RESOLVE_S * attempt * random.uniform(0.5, 1.5))
            try:
                return await self.give_up([claim.attempt for claim in batch])
            except LedgerAway:
                if attempt == RESOLVE_TRIES:
                    raise
        raise AssertionError("Bug! The last try returns or raises.")

    async def give_up(self, attempts: Sequence[Attempt]) -> set[UUID]:
        """Fence these attempts, so that none can commit from now on; return those that had."""
        async with driver(self._engine) as connection:
            await connection.execute(
                _FENCE_SQL,
                self._jurisdiction,
                [attempt.retailer_id for attempt in attempts],
                [attempt.idempotency_key for attempt in attempts],
                [attempt.claim_id for attempt in attempts],
            )
            fate = await connection.fetch(_FATE_SQL, [attempt.claim_id for attempt in attempts])
        return {row["claim_id"] for row in fate}

    async def pools(self) -> list[PoolState]:
        """Every pool as it stands."""
        async with driver(self._engine) as connection:
            rows = await connection.fetch(_POOLS_SQL, self._jurisdiction)
        return [PoolState(*row) for row in rows]

    async def standing(self, batch: Sequence[Sequence[WantedLine]]) -> list[Standing]:
        """For each claim of the batch: what it would meet, as things stand."""
        async with driver(self._engine) as connection:
            lines = [line for wanted in batch for line in wanted]
            standing = await read_standing(connection, self._jurisdiction, lines)
        return [standing.copy() for _ in batch]

    async def claim(self, retailer_id: str, claim_id: UUID) -> Claim | None:
        """The retailer's own claim; None also where it is another's."""
        async with driver(self._engine) as connection:
            return await claim_by_id(connection, self._jurisdiction, retailer_id, claim_id)

    async def claim_by_key(self, retailer_id: str, idempotency_key: str) -> KeyedClaim | None:
        """The claim that came of this key, if one did."""
        async with driver(self._engine) as connection:
            return await claim_by_key(connection, self._jurisdiction, retailer_id, idempotency_key)
