"""Reads claims from the ledger, by id or by idempotency key."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

import asyncpg

from service.claims.claim import Claim, ClaimLine
from service.core.calendar import SHANGHAI

_READ_SQL = """
SELECT c.claim_id, c.retailer_id AS owner, c.state, c.store_id, c.order_no, c.policy,
    c.sold_at, c.created_at, c.expires_at, c.price_fen, c.subsidy_fen,
    l.line_no, l.category, l.price_fen AS line_price_fen, l.rate_bp, l.cap_fen,
    l.subsidy_fen AS line_subsidy_fen, l.pool, l.state AS line_state{more}
FROM {source} JOIN claim_line AS l ON l.claim_id = c.claim_id
WHERE {condition}
ORDER BY c.claim_id, l.line_no
"""
_BY_ID_SQL = _READ_SQL.format(
    more="",
    source="claim AS c",
    condition="c.jurisdiction = $1 AND c.claim_id = ANY ($2::uuid[])",
)
_BY_KEY_SQL = _READ_SQL.format(
    more=", k.retailer_id, k.idempotency_key, k.fingerprint",
    source="""unnest($2::text[], $3::text[]) AS asked (retailer_id, idempotency_key)
    JOIN idempotency_key AS k USING (retailer_id, idempotency_key)
    JOIN claim AS c ON c.claim_id = k.claim_id""",
    condition="k.jurisdiction = $1",
)

OwnClaim = tuple[str, UUID]  # retailer id, claim id
ClaimKey = tuple[str, str]  # retailer id, idempotency key


@dataclass(frozen=True, slots=True)
class KeyedClaim:
    """The claim of an idempotency key, and the fingerprint of the body that made it."""

    claim: Claim
    fingerprint: bytes


async def claims_by_id(
    connection: asyncpg.Connection, jurisdiction: str, own_claims: Sequence[OwnClaim]
) -> dict[OwnClaim, Claim]:
    """The claims that exist and belong to the named retailer. Raises asyncpg's errors."""
    rows = await connection.fetch(
        _BY_ID_SQL, jurisdiction, list({claim_id for _, claim_id in own_claims})
    )
    return {(lines[0]["owner"], claim_id): read_claim(lines) for claim_id, lines in by_claim(rows)}


async def claims_by_key(
    connection: asyncpg.Connection, jurisdiction: str, keys: Sequence[ClaimKey]
) -> dict[ClaimKey, KeyedClaim]:
    """The claims of those keys that have one. Raises asyncpg's errors."""
    retailers, idempotency_keys = zip(*sorted(set(keys)), strict=True)
    rows = await connection.fetch(_BY_KEY_SQL, jurisdiction, retailers, idempotency_keys)
    return {
        (lines[0]["retailer_id"], lines[0]["idempotency_key"]): KeyedClaim(
            read_claim(lines), lines[0]["fingerprint"]
        )
        for _, lines in by_claim(rows)
    }


def by_claim(rows: Sequence[asyncpg.Record]) -> list[tuple[UUID, list[asyncpg.Record]]]:
    """(claim id, its rows). The rows must be sorted by claim."""
    return [
        (claim_id, list(lines))
        for claim_id, lines in groupby(rows, key=lambda row: row["claim_id"])
    ]


def read_claim(rows: Sequence[asyncpg.Record]) -> Claim:
    """A claim from its rows, one row a line."""
    head = rows[0]
    return Claim(
        claim_id=head["claim_id"],
        state=head["state"],
        store_id=head["store_id"],
        order_no=head["order_no"],
        policy=head["policy"],
        sold_at=head["sold_at"].astimezone(SHANGHAI),
        created_at=head["created_at"].astimezone(SHANGHAI),
        expires_at=head["expires_at"] and head["expires_at"].astimezone(SHANGHAI),
        price_fen=head["price_fen"],
        subsidy_fen=head["subsidy_fen"],
        payable_fen=head["price_fen"] - head["subsidy_fen"],
        lines=tuple(map(_line, rows)),
    )


def _line(row: asyncpg.Record) -> ClaimLine:
    return ClaimLine(
        line_no=row["line_no"],
        category=row["category"],
        price_fen=row["line_price_fen"],
        rate_bp=row["rate_bp"],
        cap_fen=row["cap_fen"],
        subsidy_fen=row["line_subsidy_fen"],
        payable_fen=row["line_price_fen"] - row["line_subsidy_fen"],
        pool=row["pool"],
        state=row["line_state"],
    )
