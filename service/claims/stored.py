"""Claims as the ledger has them, read back by id or by idempotency key."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from service.claims.claim import Claim, ClaimLine
from service.core.calendar import SHANGHAI

_READ_SQL = """
SELECT c.claim_id, c.state, c.store_id, c.order_no, c.policy, c.sold_at, c.created_at,
    c.expires_at, c.price_fen, c.subsidy_fen,
    l.line_no, l.category, l.price_fen AS line_price_fen, l.rate_bp, l.cap_fen,
    l.subsidy_fen AS line_subsidy_fen, l.pool, l.state AS line_state{more}
FROM {source} JOIN claim_line AS l ON l.claim_id = c.claim_id
WHERE {condition}
ORDER BY c.claim_id, l.line_no
"""
_BY_ID_SQL = _READ_SQL.format(
    more="",
    source="claim AS c",
    condition="c.claim_id = $3 AND c.jurisdiction = $1 AND c.retailer_id = $2",
)
_BY_KEY_SQL = _READ_SQL.format(
    more=", k.fingerprint",
    source="idempotency_key AS k JOIN claim AS c ON c.claim_id = k.claim_id",
    condition="k.jurisdiction = $1 AND k.retailer_id = $2 AND k.idempotency_key = $3",
)


@dataclass(frozen=True, slots=True)
class KeyedClaim:
    """The claim that an idempotency key has, and the fingerprint of the body it came with."""

    claim: Claim
    fingerprint: bytes


async def claim_by_id(
    connection: asyncpg.Connection, jurisdiction: str, retailer_id: str, claim_id: UUID
) -> Claim | None:
    """The retailer's own claim; None also where it is another's."""
    rows = await connection.fetch(_BY_ID_SQL, jurisdiction, retailer_id, claim_id)
    return _claim(rows) if rows else None


async def claim_by_key(
    connection: asyncpg.Connection, jurisdiction: str, retailer_id: str, idempotency_key: str
) -> KeyedClaim | None:
    """The claim that came of this key, if one did."""
    rows = await connection.fetch(_BY_KEY_SQL, jurisdiction, retailer_id, idempotency_key)
    return KeyedClaim(_claim(rows), rows[0]["fingerprint"]) if rows else None


def _claim(rows: Sequence[asyncpg.Record]) -> Claim:
    """One claim from its rows, one a line."""
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
