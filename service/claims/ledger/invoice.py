"""The invoices of a claim in the ledger: each number serves one claim for ever.

`invoice` has the whole sale's current invoice, `line_invoiced` the lines that have their own, and
`invoice_paper` every invoice that was ever filed. Migration 0016 says what the database itself
holds to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from service.batcher import Overloaded
from service.claims.claim import Claim
from service.claims.invoicing import (
    Invoice,
    InvoiceFault,
    InvoicePaper,
    Objection,
    current,
    replaced_by,
)

# Shorter than a till waits, so that no connection is given up for it.
LOCK_MS = 200
# In the order of a draft: the retailer first.
_LOCK_SQL = """
SELECT r.uscc FROM retailer AS r JOIN claim AS c USING (jurisdiction, retailer_id)
WHERE c.jurisdiction = $1 AND c.claim_id = $2 FOR SHARE OF r FOR NO KEY UPDATE OF c
"""
# Release 0.1.0 could file one invoice in two spellings, for two claims. Then the second claim's is
# in `invoice` only.
_PAPERS_SQL = """
SELECT number, code, dated_on, buyer, total_fen, lines, red_letter_of, file_sha256, recorded_at,
    replaced_at
FROM invoice_paper WHERE claim_id = $2 AND jurisdiction = $1
UNION ALL
SELECT number, code, dated_on, buyer, total_fen, NULL, NULL, NULL, recorded_at, NULL
FROM invoice AS i WHERE claim_id = $2 AND jurisdiction = $1 AND NOT EXISTS (
    SELECT FROM invoice_paper AS p WHERE p.claim_id = i.claim_id AND p.replaced_at IS NULL
        AND p.red_letter_of IS NULL)
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
# A number of 8 digits that release 0.1.0 took without its code may be any paper of that number.
_HALF_NAMED_SQL = """
SELECT EXISTS (SELECT FROM invoice_paper
    WHERE jurisdiction = $1 AND number = $2 AND code <> $3 AND code = '' AND claim_id <> $4)
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
WHERE jurisdiction = $1 AND number = $2 AND code = $3 AND file_sha256 IS NULL
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
    seller's tax number that an invoice's file gives. Raises Overloaded, or asyncpg's errors."""
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_MS}ms'")
            uscc = await connection.fetchval(_LOCK_SQL, jurisdiction, claim.claim_id)
            if seller_id and seller_id != uscc:
                return InvoiceFault("seller", "not_the_seller")
            papers = await read_papers(connection, jurisdiction, claim.claim_id)
            for one in current(papers):
                if one == invoice:
                    return await _stamped(connection, jurisdiction, one, invoice.file_sha256)
            kinds = {not p.invoice.red_letter_of for p in papers if p.invoice.key == invoice.key}
            if kinds == {bool(invoice.red_letter_of)}:
                return InvoiceFault("number", "other_kind")
            replaced = replaced_by(claim, invoice, papers)
            if not isinstance(replaced, list):
                return replaced
            for one in replaced:
                await _replace(connection, jurisdiction, claim.claim_id, one, now)
            await _file(connection, jurisdiction, claim.claim_id, invoice, now)
            return invoice
    except _Refused as refused:
        return refused.outcome
    except asyncpg.LockNotAvailableError:  # a draft or an approval of the retailer is under way
        raise Overloaded from None
    except asyncpg.UniqueViolationError as error:
        return InvoiceSettled() if error.constraint_name == "invoice_settled" else InvoiceTaken()


async def _stamped(
    connection: asyncpg.Connection, jurisdiction: str, invoice: Invoice, sha256: bytes | None
) -> Invoice:
    """The invoice on record, with the hash of its file: the first one that came."""
    if sha256 is None or invoice.file_sha256 is not None:
        return invoice
    await connection.execute(_STAMP_SQL, jurisdiction, *invoice.key, sha256)
    return replace(invoice, file_sha256=sha256)


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
    if await connection.fetchval(_HALF_NAMED_SQL, *head[:4]):
        raise _Refused(InvoiceTaken())
    filed = await connection.fetchval(
        _FILE_SQL, *head, lines, invoice.red_letter_of or None, invoice.file_sha256, now
    )
    if filed is None:
        raise _Refused(InvoiceTaken())
    if lines is not None:
        await connection.execute(_FILE_LINES_SQL, claim_id, lines, jurisdiction, *invoice.key)
    elif not invoice.red_letter_of:
        await connection.execute(_FILE_SALE_SQL, *head, now)
