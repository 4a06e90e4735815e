"""Refunds lines of a confirmed claim, in one statement (`refund.sql`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from service.claims.claim import Footprint
from service.claims.ledger.give_back import footprints, with_give_back
from service.claims.ledger.retry import retried
from service.core.calendar import SHANGHAI, business_day
from service.pools.state import PoolState, pool_states

REFUND_SQL = with_give_back("refund.sql")
_BY_KEY_SQL = """
SELECT refund_id, claim_id, lines, reason, subsidy_fen, created_at, fingerprint
FROM refund WHERE jurisdiction = $1 AND retailer_id = $2 AND idempotency_key = $3
"""


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """A retailer's request to refund lines of a claim. A repeat has the same `fingerprint`."""

    refund_id: UUID
    retailer_id: str
    idempotency_key: str
    fingerprint: bytes
    claim_id: UUID
    lines: tuple[int, ...]
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund as the API returns it. `subsidy_fen` went back to the budget."""

    refund_id: UUID
    claim_id: UUID
    lines: tuple[int, ...]
    reason: str
    subsidy_fen: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RefundReport:
    """What the lines gave back, and the pools after it."""

    refund: Refund
    freed: list[Footprint]
    pools: list[PoolState]


async def refund(
    connection: asyncpg.Connection, jurisdiction: str, request: RefundRequest
) -> RefundReport | None:
    """Refund the lines. None: one of them cannot be refunded, or the key was used before.

    Raises asyncpg's errors.
    """
    arguments = (
        request.retailer_id,
        request.idempotency_key,
        request.fingerprint,
        request.refund_id,
        request.claim_id,
        request.lines,
        request.reason,
        request.now,
        business_day(request.now),
    )
    try:
        row = await retried(lambda: connection.fetchrow(REFUND_SQL, jurisdiction, *arguments))
    except asyncpg.IntegrityConstraintViolationError as error:
        if error.constraint_name in ("refund_is_whole", "refund_pkey"):
            return None
        raise
    made_refund = _refund(
        request.refund_id,
        request.claim_id,
        request.lines,
        request.reason,
        row["subsidy_fen"],
        request.now,
    )
    return RefundReport(made_refund, footprints(row), pool_states(row))


async def refund_by_key(
    connection: asyncpg.Connection, jurisdiction: str, retailer_id: str, idempotency_key: str
) -> tuple[Refund, bytes] | None:
    """The refund under this key, and the fingerprint of its request."""
    row = await connection.fetchrow(_BY_KEY_SQL, jurisdiction, retailer_id, idempotency_key)
    if row is None:
        return None
    *columns, fingerprint = row
    return _refund(*columns), fingerprint


def _refund(
    refund_id: UUID,
    claim_id: UUID,
    lines: Sequence[int],
    reason: str,
    subsidy_fen: int,
    created_at: datetime,
) -> Refund:
    return Refund(
        refund_id, claim_id, tuple(lines), reason, subsidy_fen, created_at.astimezone(SHANGHAI)
    )
