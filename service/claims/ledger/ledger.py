"""The ledger: PostgreSQL. A claim is granted by its commit here; constraints refuse the rest."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from service import metrics
from service.claims.claim import Attempt, Claim, LineDemand, PendingClaim
from service.claims.invoicing import Invoice, InvoicePaper
from service.claims.ledger.commit import Commit, Committed, CommitVerdict, GivenUp
from service.claims.ledger.finish import Ending, FinishReport, finish
from service.claims.ledger.invoice import Recorded, read_papers, record_invoice
from service.claims.ledger.refund import Refund, RefundReport, RefundRequest, refund, refund_by_key
from service.claims.ledger.standing import Standing, read_standing
from service.claims.ledger.stored import ClaimKey, KeyedClaim, OwnClaim, claims_by_id, claims_by_key
from service.db.engine import LedgerAway, NeverSent, driver
from service.pools.budgets import read_budgets
from service.pools.state import PoolState, read_pools

# Longer than a till waits. A commit that is cut off must be fenced, so a slow one gets the time to
# end by itself.
COMMIT_S = 2

# How often, and how far apart, the ledger is asked for the outcome of a commit. The sum is less
# than a till waits. The sweeper resolves what is still unknown then.
RESOLVE_TRIES = 4
RESOLVE_S = 0.05

_FATE_SQL = "SELECT claim_id FROM claim WHERE claim_id = ANY ($1::uuid[])"
# The fence is written into the row that the commit must write, so one of the two wins.
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
    """A verdict for each claim of the batch, in order, and the pools after it."""

    verdicts: list[CommitVerdict]
    pools: list[PoolState]


class Ledger:
    """The ledger of one jurisdiction. Every method raises LedgerAway if it does not answer."""

    def __init__(self, engine: AsyncEngine, jurisdiction: str) -> None:
        self._engine = engine
        self._jurisdiction = jurisdiction

    async def commit(self, batch: Sequence[PendingClaim], *, bypassed: bool) -> CommitReport:
        """Commit the claims of the batch that the constraints allow. `bypassed`: some claims have
        not passed the gate.

        If the connection breaks, the outcome is unknown. The claims are then given up, and those
        that had committed before are reported as committed. Raises NeverSent if nothing was sent,
        LedgerAway if the outcome stays unknown.
        """
        commit = Commit(self._jurisdiction, bypassed)
        try:
            with metrics.ledger_seconds.labels("commit").time():
                async with driver(self._engine, within_s=COMMIT_S) as connection:
                    await commit.run(connection, batch)
        except NeverSent:
            raise
        except LedgerAway:
            unknown = [claim for claim in batch if claim.claim_id not in commit.verdicts]
            committed = await self._resolve([claim.attempt for claim in unknown])
            for claim in unknown:
                is_in = claim.claim_id in committed
                commit.verdicts[claim.claim_id] = Committed() if is_in else GivenUp()
        verdicts = [commit.verdicts[claim.claim_id] for claim in batch]
        return CommitReport(verdicts, list(commit.pools.values()))

    async def _resolve(self, attempts: Sequence[Attempt]) -> set[UUID]:
        for attempt in range(1, RESOLVE_TRIES + 1):
            await asyncio.sleep(RESOLVE_S * attempt * random.uniform(0.5, 1.5))
            try:
                return await self.give_up(attempts)
            except LedgerAway:
                if attempt == RESOLVE_TRIES:
                    raise
        raise AssertionError("Bug! The last try returns or raises.")

    async def give_up(self, attempts: Sequence[Attempt]) -> set[UUID]:
        """Fence these attempts, so that none can commit from now on. Returns the ids of those that
        had committed before."""
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
        """Every row of every pool."""
        async with driver(self._engine) as connection:
            return await read_pools(connection, self._jurisdiction)

    async def openings(self) -> dict[str, datetime]:
        """When the next tranche of each pool opens. Pools without a planned one are left out."""
        async with driver(self._engine) as connection:
            budgets = await read_budgets(connection, self._jurisdiction)
        return {
            budget.pool: budget.next_opens_at
            for budget in budgets
            if budget.next_opens_at is not None
        }

    async def standing(self, batch: Sequence[Sequence[LineDemand]]) -> list[Standing]:
        """For each claim of the batch a standing of its own."""
        with metrics.ledger_seconds.labels("standing").time():
            async with driver(self._engine) as connection:
                lines = [line for claim in batch for line in claim]
                standing = await read_standing(connection, self._jurisdiction, lines)
            return [standing.copy() for _ in batch]

    async def claims(self, own_claims: Sequence[OwnClaim]) -> list[Claim | None]:
        """Each retailer's own claim; None if it does not exist or is another retailer's."""
        async with driver(self._engine) as connection:
            by_id = await claims_by_id(connection, self._jurisdiction, own_claims)
        return [by_id.get(own_claim) for own_claim in own_claims]

    async def claims_by_key(self, keys: Sequence[ClaimKey]) -> list[KeyedClaim | None]:
        """The claim of each key, or None."""
        with metrics.ledger_seconds.labels("keys").time():
            async with driver(self._engine) as connection:
                by_key = await claims_by_key(connection, self._jurisdiction, keys)
            return [by_key.get(key) for key in keys]

    # --- after the grant ----------------------------------------------------------------

    async def finish(
        self, endings: Sequence[Ending], now: datetime, *, due_max: int = 0
    ) -> FinishReport:
        """End these holds, and up to `due_max` that are due to expire."""
        with metrics.ledger_seconds.labels("finish").time():
            async with driver(self._engine) as connection:
                return await finish(connection, self._jurisdiction, endings, now, due_max=due_max)

    async def refunds(self, batch: Sequence[RefundRequest]) -> list[RefundReport | None]:
        """Refund lines, one request after another. None: not all lines of the request can be
        refunded, or its key was used before."""
        with metrics.ledger_seconds.labels("refund").time():
            async with driver(self._engine) as connection:
                return [await refund(connection, self._jurisdiction, request) for request in batch]

    async def record_invoice(
        self, claim: Claim, invoice: Invoice, now: datetime, *, seller_id: str = ""
    ) -> Recorded:
        """File an invoice of the claim."""
        async with driver(self._engine) as connection:
            return await record_invoice(
                connection, self._jurisdiction, claim, invoice, now, seller_id=seller_id
            )

    async def papers(self, claim_id: UUID) -> list[InvoicePaper]:
        """Every invoice that was filed for the claim, the earliest first."""
        async with driver(self._engine) as connection:
            return await read_papers(connection, self._jurisdiction, claim_id)

    async def refund_by_key(
        self, retailer_id: str, idempotency_key: str
    ) -> tuple[Refund, bytes] | None:
        """The refund under this key, and the fingerprint of its request."""
        async with driver(self._engine) as connection:
            return await refund_by_key(connection, self._jurisdiction, retailer_id, idempotency_key)
