"""The invoices of a claim in the ledger: each number serves one claim for ever.

`invoice` has the whole sale's current invoice, `line_invoiced` the lines that have their own, and
`invoice_paper` every invoice that was ever filed. Migration 0016 says what the database itself
holds to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from service.claims.claim import Claim
from service.claims.invoicing import (
    Invoice,
    InvoiceFault,
    InvoicePaper,
    Objection,
    current,
    replaced_by,
)

# In the order of a draft: the retailer first.
_LOCK_SQL = """
SELECT r.uscc FROM retailer AS r JOIN claim AS c USING (jurisdiction, retailer_id)
WHERE c.jurisdiction = $1 AND c.claim_id = $2 FOR SHARE OF r FOR NO KEY UPDATE OF c
"""
_PAPERS_SQL = """
SELECT number, code, dated_on, buyer, total_fen, lines, red_letter_of, file_sha256, recorded_at,
    replaced_at
FROM invoice_paper WHERE claim_id = $2 AND jurisdiction = $1
ORDER BY recorded_at, number, code
"""
_SETTLED_SQL = """
SELECT EXISTS (SELECT FROM settled_entry WHERE claim_id = $1
    AND ($2::smallint[] IS NULL OR line_no = ANY ($2)))
"""
_REPLACE_SQL = """
UPDATE invoice_paper SET replaced_at = $4
WHERE jurisdiction = $1 AND number = $2 AND code = $3
"""
_FREE_SALE_SQL = "DELETE FROM invoice WHERE jurisdiction = $1 AND claim_id = $2"
_FREE_LINES_SQL = "DELETE FROM line_invoiced WHERE claim_id = $1 AND line_no = ANY ($2::smallint[])"
# A paper of another claim, or of another colour, is left as it is, and none is returned.
_FILE_SQL = """
INSERT INTO invoice_paper AS p (jurisdiction, number, code, claim_id, dated_on, buyer, total_fen,
    lines, red_letter_of, file_sha256, recorded_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (jurisdiction, number, code) DO UPDATE SET
    dated_on = excluded.dated_on, buyer = excluded.buyer, total_fen = excluded.total_fen,
    lines = excluded.lines, red_letter_of = excluded.red_letter_of,
    file_sha256 = excluded.file_sha256, recorded_at = excluded.recorded_at, replaced_at = NULL
WHERE p.claim_id = excluded.claim_id
    AND (p.red_letter_of IS NULL) = (excluded.red_letter_of IS NULL)
RETURNING 1
"""
_FILE_SALE_SQL = """
INSERT INTO invoice
    (jurisdiction, number, code, claim_id, dated_on, buyer, total_fen, recorded_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT ON CONSTRAINT invoice_claim_key DO UPDATE SET
    number = excluded.number, code = excluded.code, dated_on = excluded.dated_on,
    buyer = excluded.buyer, total_fen = excluded.total_fen, recorded_at = excluded.recorded_at
"""
_FILE_LINES_SQL = """
INSERT INTO line_invoiced (claim_id, line_no, jurisdiction, number, code)
SELECT $1, line_no, $3, $4, $5 FROM unnest($2::smallint[]) AS line_no
"""
_STAMP_SQL = """
UPDATE invoice_paper SET file_sha256 = $4
WHERE jurisdiction = $1 AND number = $2 AND code = $3
"""


@dataclass(frozen=True, slots=True)
class InvoiceTaken:
    """The number was filed for another claim, or as another kind of invoice of this one."""


@dataclass(frozen=True, slots=True)
class InvoiceSettled:
    """A settlement has the invoice that this one would replace."""


Recorded = Invoice | InvoiceTaken | InvoiceSettled | Objection


class _Refused(Exception):
    """Ends the transaction without a trace."""

    def __init__(self, outcome: Recorded) -> None:
        super().__init__()
        self.outcome = outcome


async def record_invoice(
    connection: asyncpg.Connection,
    jurisdiction: str,
    claim: Claim,
    invoice: Invoice,
    now: datetime,
    *,
    seller_id: str = "",
) -> Recorded:
    """File the claim's invoice. One that is on record already is left as it is. `seller_id`: the
    seller's tax number that an invoice's file gives. Raises asyncpg's errors."""
    try:
        async with connection.transaction():
            uscc = await connection.fetchval(_LOCK_SQL, jurisdiction, claim.claim_id)
            if seller_id and seller_id != uscc:
                return InvoiceFault("seller", "not_the_seller")
            papers = await read_papers(connection, jurisdiction, claim.claim_id)
            if invoice in current(papers):
                if invoice.file_sha256 is not None:
                    await connection.execute(
                        _STAMP_SQL, jurisdiction, *invoice.key, invoice.file_sha256
                    )
                return invoice
            replaced = replaced_by(claim, invoice, papers)
            if not isinstance(replaced, list):
                return replaced
            for one in replaced:
                await _replace(connection, jurisdiction, claim.claim_id, one, now)
            await _file(connection, jurisdiction, claim.claim_id, invoice, now)
            return invoice
    except _Refused as refused:
        return refused.outcome
    except asyncpg.UniqueViolationError:  # the former release files at the same moment
        return InvoiceTaken()


async def read_papers(
    connection: asyncpg.Connection, jurisdiction: str, claim_id: UUID
) -> list[InvoicePaper]:
    """Every invoice that was filed for the claim, the earliest first. Raises asyncpg's errors."""
    rows = await connection.fetch(_PAPERS_SQL, jurisdiction, claim_id)
    return [_paper(row) for row in rows]


def _paper(row: asyncpg.Record) -> InvoicePaper:
    invoice = Invoice(
        number=row["number"],
        code=row["code"],
        dated_on=row["dated_on"],
        buyer=row["buyer"],
        total_fen=row["total_fen"],
        lines=tuple(row["lines"] or ()),
        red_letter_of=row["red_letter_of"] or "",
        file_sha256=row["file_sha256"],
    )
    return InvoicePaper(invoice, row["recorded_at"], row["replaced_at"])


async def _replace(
    connection: asyncpg.Connection,
    jurisdiction: str,
    claim_id: UUID,
    invoice: Invoice,
    now: datetime,
) -> None:
    """Free the lines of a current invoice. Raises _Refused if a settlement has it."""
    lines: Sequence[int] | None = list(invoice.lines) or None
    if not invoice.red_letter_of:
        if await connection.fetchval(_SETTLED_SQL, claim_id, lines):
            raise _Refused(InvoiceSettled())
        if lines is None:
            await connection.execute(_FREE_SALE_SQL, jurisdiction, claim_id)
        else:
            await connection.execute(_FREE_LINES_SQL, claim_id, lines)
    await connection.execute(_REPLACE_SQL, jurisdiction, *invoice.key, now)


async def _file(
    connection: asyncpg.Connection,
    jurisdiction: str,
    claim_id: UUID,
    invoice: Invoice,
    now: datetime,
) -> None:
    """Raises _Refused if the number is taken."""
    head = (
        jurisdiction,
        *invoice.key,
        claim_id,
        invoice.dated_on,
        invoice.buyer,
        invoice.total_fen,
    )
    lines = list(invoice.lines) or None
    filed = await connection.fetchval(
        _FILE_SQL, *head, lines, invoice.red_letter_of or None, invoice.file_sha256, now
    )
    if filed is None:
        raise _Refused(InvoiceTaken())
    if lines is not None:
        await connection.execute(_FILE_LINES_SQL, claim_id, lines, jurisdiction, *invoice.key)
    elif not invoice.red_letter_of:
        await connection.execute(_FILE_SALE_SQL, *head, now)
