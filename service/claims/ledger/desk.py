"""Claims of all retailers, as the bureau's desk reads them: a claim as its till sees it, with the
retailer and each line's invoice. No row here has the buyer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg

from service.claims.claim import Claim, ClaimLine
from service.claims.ledger.finding import ClaimFilter, find_ids
from service.claims.ledger.stored import claims_by_id
from service.core.value import value

# A line's own invoice, else that of the whole sale.
_LINES_SQL = """
SELECT l.claim_id, l.line_no, l.serial_no, coalesce(p.number, i.number) AS number,
    coalesce(p.code, i.code) AS code, coalesce(p.dated_on, i.dated_on) AS dated_on,
    coalesce(p.total_fen, i.total_fen) AS total_fen
FROM claim_line AS l
LEFT JOIN line_invoiced AS o ON o.claim_id = l.claim_id AND o.line_no = l.line_no
LEFT JOIN invoice_paper AS p
    ON p.jurisdiction = o.jurisdiction AND p.number = o.number AND p.code = o.code
LEFT JOIN invoice AS i ON i.claim_id = l.claim_id
WHERE l.claim_id = ANY ($1::uuid[])
"""

LineKey = tuple[UUID, int]  # claim id, line number


@value
class LineInvoice:
    """The invoice that a line is on; `code` is null for a fully digital one. The total is the
    paper's, in fen."""

    number: str
    code: str | None
    date: date
    total_fen: int


@value
class DeskLine(ClaimLine):
    """A claim's line, with its serial number as typed, and its invoice."""

    serial_no: str
    invoice: LineInvoice | None


@value
class DeskClaim(Claim):
    """A claim, with its retailer and its lines' invoices. It does not name the buyer."""

    lines: tuple[DeskLine, ...]
    retailer_id: str


@dataclass(frozen=True, slots=True)
class DeskPage:
    """Claims of all retailers, newest first. `next_cursor` asks for the next page; null: there is
    none."""

    claims: list[DeskClaim]
    next_cursor: UUID | None


async def find_at_desk(
    connection: asyncpg.Connection,
    jurisdiction: str,
    retailer_id: str | None,
    filters: ClaimFilter,
    *,
    before: UUID | None,
    limit: int,
) -> DeskPage:
    """A page of the claims of one retailer, or of all. Raises asyncpg's errors."""
    ids, next_before = await find_ids(
        connection, jurisdiction, retailer_id, filters, before=before, limit=limit
    )
    claims = await claims_by_id(connection, jurisdiction, [("", claim_id) for claim_id in ids])
    rows = await connection.fetch(_LINES_SQL, ids)
    lines = {(row["claim_id"], row["line_no"]): row for row in rows}
    by_id = {
        claim_id: _desk_claim(owner, claim, lines) for (owner, claim_id), claim in claims.items()
    }
    return DeskPage([by_id[claim_id] for claim_id in ids], next_before)


def _desk_claim(
    retailer_id: str, claim: Claim, rows: Mapping[LineKey, asyncpg.Record]
) -> DeskClaim:
    lines = tuple(_desk_line(line, rows[claim.claim_id, line.line_no]) for line in claim.lines)
    return DeskClaim(**{**_facts(claim), "lines": lines}, retailer_id=retailer_id)


def _desk_line(line: ClaimLine, row: asyncpg.Record) -> DeskLine:
    invoice = None
    if row["number"] is not None:
        invoice = LineInvoice(row["number"], row["code"] or None, row["dated_on"], row["total_fen"])
    return DeskLine(**_facts(line), serial_no=row["serial_no"], invoice=invoice)


def _facts(known: Claim | ClaimLine) -> dict[str, Any]:
    return {field.name: getattr(known, field.name) for field in fields(known)}
