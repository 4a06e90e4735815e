"""The invoice of a claim: one number serves one claim, and a claim has one invoice."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import asyncpg

# A corrected invoice replaces the claim's former one.
_RECORD_SQL = """
INSERT INTO invoice
    (jurisdiction, number, code, claim_id, dated_on, buyer, total_fen, recorded_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT ON CONSTRAINT invoice_claim_key DO UPDATE SET
    number = excluded.number, code = excluded.code, dated_on = excluded.dated_on,
    buyer = excluded.buyer, total_fen = excluded.total_fen, recorded_at = excluded.recorded_at
"""
_READ_SQL = """
SELECT number, code, dated_on, buyer, total_fen FROM invoice
WHERE jurisdiction = $1 AND claim_id = $2
"""


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as issued. `code` is empty for a fully digital one."""

    number: str
    code: str
    dated_on: date
    buyer: str
    total_fen: int


@dataclass(frozen=True, slots=True)
class InvoiceTaken:
    """Another claim has an invoice of this number."""


async def record_invoice(
    connection: asyncpg.Connection,
    jurisdiction: str,
    claim_id: UUID,
    invoice: Invoice,
    now: datetime,
) -> Invoice | InvoiceTaken:
    """Store the claim's invoice. Raises asyncpg's errors."""
    try:
        await connection.execute(
            _RECORD_SQL,
            jurisdiction,
            invoice.number,
            invoice.code,
            claim_id,
            invoice.dated_on,
            invoice.buyer,
            invoice.total_fen,
            now,
        )
    except asyncpg.UniqueViolationError:
        return InvoiceTaken()
    return invoice


async def read_invoice(
    connection: asyncpg.Connection, jurisdiction: str, claim_id: UUID
) -> Invoice | None:
    """The claim's invoice, or None. Raises asyncpg's errors."""
    row = await connection.fetchrow(_READ_SQL, jurisdiction, claim_id)
    return Invoice(*row) if row else None
