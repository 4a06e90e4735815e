"""What the replay reads: the claims in slices, and the money of each pool over time.

Every reader sees the same snapshot, of the ledger or of its standby.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from uuid import UUID

import asyncpg

from service.core.calendar import business_day, start_of_day
from service.core.policy import Policy
from service.replay.period import ReplayPeriod, first_claim_id

# Claims of one slice: a reader holds one, and the next one waits.
SLICE_CLAIMS = 10_000

# The lines of the claims from $2 on and before $3, in the order of their claims: an id begins with
# the time. A sum of conditions on both tables lets PostgreSQL read both by their primary keys.
#
# $4 the number of the personal-data key: while a key is replaced, some claims have the digest of
# another one, and the line's quotas have this one's. An old vehicle's first digest is that of its
# folded number. $5 the only categories, if not all.
LINES = """
SELECT c.claim_id, l.line_no, c.retailer_id, c.policy, c.sold_at, c.created_at, c.id_type,
    CASE WHEN digest_generation(c.consumer_digest) = $4 THEN c.consumer_digest ELSE coalesce((
        SELECT decode(q ->> 'subject', 'hex') FROM jsonb_array_elements(l.quotas) AS q
        WHERE digest_generation(decode(q ->> 'subject', 'hex')) = $4
            AND NOT starts_with(q ->> 'quota', 'old_')
        LIMIT 1), c.consumer_digest) END AS person,
    CASE WHEN l.trade_in IS NOT NULL THEN (
        SELECT decode(q ->> 'subject', 'hex') FROM jsonb_array_elements(l.quotas) AS q
        WHERE digest_generation(decode(q ->> 'subject', 'hex')) = $4
            AND starts_with(q ->> 'quota', 'old_')
        LIMIT 1) END AS vehicle,
    l.category, l.scheme, l.pool, l.state, l.price_fen, l.subsidy_fen, l.energy_grade,
    l.serial_no, l.imei, l.facts::text AS facts, l.trade_in::text AS trade_in,
    CASE WHEN l.state = 'refunded' THEN (
        SELECT r.created_at FROM refund AS r
        WHERE r.claim_id = l.claim_id AND l.line_no = ANY (r.lines) LIMIT 1) END AS refunded_at
FROM claim AS c JOIN claim_line AS l USING (claim_id)
WHERE c.jurisdiction = $1 AND c.claim_id >= $2 AND c.claim_id < $3
    AND l.claim_id >= $2 AND l.claim_id < $3
    AND ($5::text[] IS NULL OR l.category = ANY ($5))
ORDER BY c.claim_id, l.line_no
"""
_BOUNDARIES = """
SELECT claim_id FROM (
    SELECT claim_id, row_number() OVER (ORDER BY claim_id) AS number
    FROM claim WHERE claim_id >= $1 AND claim_id < $2
) AS numbered
WHERE (number - 1) % $3 = 0
"""
_OPENING = """
SELECT pool, sum(CASE kind WHEN 'allocation' THEN amount_fen ELSE -amount_fen END)::bigint
FROM journal WHERE jurisdiction = $1 AND booked_on <= $2 AND booked_at < $3 GROUP BY pool
"""
# An entry may be booked on a later day than its own, never on an earlier one.
_MOVEMENTS = """
SELECT booked_at, pool, kind, CASE kind WHEN 'allocation' THEN amount_fen ELSE -amount_fen END
FROM journal
WHERE jurisdiction = $1 AND booked_on >= $2 AND booked_at >= $3 AND booked_at < $4
    AND (kind = 'allocation' OR claim_id < $5)
ORDER BY entry_no
"""
_GENERATION = "SELECT generation FROM pii_key WHERE jurisdiction = $1"


@dataclass(frozen=True, slots=True)
class SliceBounds:
    """Claims from `first` on and before `end`. `history`: claims from before the period, which only
    use up quotas; of these `categories`, if not all."""

    first: UUID
    end: UUID
    history: bool = False
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that comes into a pool, or leaves it, without a claim of the replay."""

    at: datetime
    pool: str
    amount_fen: int
    allocation: bool


@dataclass(frozen=True, slots=True)
class LedgerPlan:
    """All that is known before the first claim is read."""

    slices: tuple[SliceBounds, ...]
    opening_fen: dict[str, int]
    movements: tuple[Movement, ...]
    generation: int
    snapshot: str


async def read_plan(
    connection: asyncpg.Connection, jurisdiction: str, policy: Policy, period: ReplayPeriod
) -> LedgerPlan:
    """The plan of a replay, in the caller's transaction. Raises asyncpg's errors."""
    starts, ends = period.claimed_from, period.claimed_until
    opening = await connection.fetch(_OPENING, jurisdiction, business_day(starts), starts)
    moved = await connection.fetch(
        _MOVEMENTS, jurisdiction, business_day(starts), starts, ends, first_claim_id(starts)
    )
    return LedgerPlan(
        slices=(
            *await _history(connection, policy, period),
            *await _slices(connection, first_claim_id(starts), first_claim_id(ends)),
        ),
        opening_fen=dict(opening),
        movements=tuple(
            Movement(at, pool, fen, kind == "allocation") for at, pool, kind, fen in moved
        ),
        generation=await connection.fetchval(_GENERATION, jurisdiction) or 1,
        snapshot=await connection.fetchval("SELECT pg_export_snapshot()"),
    )


async def _history(
    connection: asyncpg.Connection, policy: Policy, period: ReplayPeriod
) -> Sequence[SliceBounds]:
    """The earlier claims that count against the policy's quotas: those of the calendar year, and
    for a quota that is for ever all of them."""
    for_ever = tuple(
        sorted(
            category.id
            for category in policy.categories.values()
            if category.quota.period == "all"
            or (
                category.trade_in
                and category.trade_in.quota
                and category.trade_in.quota.period == "all"
            )
        )
    )
    year = first_claim_id(start_of_day(period.first.replace(month=1, day=1)))
    starts = first_claim_id(period.claimed_from)
    year = min(year, starts)
    before = await _slices(connection, UUID(int=0), year) if for_ever else []
    within = await _slices(connection, year, starts)
    return [
        *(SliceBounds(part.first, part.end, True, for_ever) for part in before),
        *(SliceBounds(part.first, part.end, True) for part in within),
    ]


async def _slices(connection: asyncpg.Connection, first: UUID, end: UUID) -> list[SliceBounds]:
    rows = await connection.fetch(_BOUNDARIES, first, end, SLICE_CLAIMS)
    bounds = [*sorted(row[0] for row in rows), end]
    return [SliceBounds(at, following) for at, following in pairwise(bounds)]
