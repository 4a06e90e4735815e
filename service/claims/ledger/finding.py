"""Finds claims, newest first, in pages that stay correct while claims arrive.

A page ends at a claim's id, and the next page begins below it. Ids are UUIDv7: their order is the
order of time, and a period is a range of ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from service.claims.claim import Claim
from service.claims.ledger.stored import claims_by_id
from service.core.identifiers import folded_serial
from service.invoices.paper import folded

PAGE_MAX = 200
# Some 0.2 s of a retailer's claims, within the time that a request has.
SCANNED_MAX = 20_000
LAST_ID = UUID(int=2**128 - 1)

# Claims with this folded serial number or IMEI. UNION, not OR: each part uses its own index. Few
# serial numbers are typed otherwise than folded, so these have a small index of their own. An array
# is read first of all: the planner has no figures of folded serial numbers and expects many rows.
_OF_SERIAL = """c.claim_id = ANY (ARRAY(
    SELECT claim_id FROM claim_line WHERE serial_no = {0}
    UNION SELECT claim_id FROM claim_line
        WHERE folded_serial(serial_no) = {0} AND serial_no <> folded_serial(serial_no)
    UNION SELECT claim_id FROM claim_line WHERE imei = {0}
    UNION SELECT claim_id FROM claim_line WHERE facts ->> 'imei2' = {0}
))"""

_KEPT = """EXISTS (SELECT FROM claim_line AS l
    WHERE l.claim_id = c.claim_id AND l.state = 'confirmed')"""
# The whole sale has an invoice, or each line that was kept has.
_EVERY_LINE = """(EXISTS (SELECT FROM invoice AS i WHERE i.claim_id = c.claim_id)
    OR NOT EXISTS (
        SELECT FROM claim_line AS l WHERE l.claim_id = c.claim_id AND l.state = 'confirmed'
            AND NOT EXISTS (SELECT FROM line_invoiced AS o
                WHERE o.claim_id = l.claim_id AND o.line_no = l.line_no)))"""
_INVOICED = {True: _EVERY_LINE, False: f"NOT {_EVERY_LINE}"}
# The current invoices, less what red-letter invoices took back of them, are more than the price of
# their lines that were kept.
_RED_LETTER_MISSING = """EXISTS (SELECT FROM refund AS b WHERE b.claim_id = c.claim_id)
    AND (SELECT sum(p.total_fen) FROM invoice_paper AS p
        WHERE p.claim_id = c.claim_id AND p.replaced_at IS NULL
            AND (p.red_letter_of IS NULL OR EXISTS (
                SELECT FROM invoice_paper AS q WHERE q.claim_id = c.claim_id
                    AND q.number = p.red_letter_of AND q.replaced_at IS NULL)))
    > (SELECT coalesce(sum(l.price_fen), 0) FROM claim_line AS l
        WHERE l.claim_id = c.claim_id AND l.state = 'confirmed'
            AND (EXISTS (SELECT FROM invoice AS i WHERE i.claim_id = c.claim_id)
                OR EXISTS (SELECT FROM line_invoiced AS o
                    WHERE o.claim_id = l.claim_id AND o.line_no = l.line_no)))"""


@dataclass(frozen=True, slots=True)
class ClaimFilter:
    """Which claims to find: every given condition must hold. `from_at` is included, `until_at` is
    not."""

    claim_id: UUID | None = None
    order_no: str | None = None
    invoice_no: str | None = None
    serial_no: str | None = None
    consumer_digests: tuple[bytes, ...] = ()  # a person's, one by each key
    state: str | None = None
    invoiced: bool | None = None  # whether every line that was kept is in an invoice
    red_letter_missing: bool = False  # what came back is still in an invoice, without a red letter
    from_at: datetime | None = None
    until_at: datetime | None = None

    @property
    def must_scan(self) -> bool:
        """Whether no index answers it."""
        return self.invoiced is not None or self.red_letter_missing


@dataclass(frozen=True, slots=True)
class ClaimPage:
    """Claims, newest first. `next_before`: where the next page begins; None on the last page."""

    claims: list[Claim]
    next_before: UUID | None


async def find_claims(
    connection: asyncpg.Connection,
    jurisdiction: str,
    retailer_id: str,
    filters: ClaimFilter,
    *,
    before: UUID | None,
    limit: int,
) -> ClaimPage:
    """A page of the retailer's own claims. Raises asyncpg's errors."""
    page_ids, next_before = await find_ids(
        connection, jurisdiction, retailer_id, filters, before=before, limit=limit
    )
    by_id = await claims_by_id(
        connection, jurisdiction, [(retailer_id, claim_id) for claim_id in page_ids]
    )
    claims = [by_id[retailer_id, claim_id] for claim_id in page_ids]
    return ClaimPage(claims, next_before)


async def find_ids(
    connection: asyncpg.Connection,
    jurisdiction: str,
    retailer_id: str | None,
    filters: ClaimFilter,
    *,
    before: UUID | None,
    limit: int,
) -> tuple[list[UUID], UUID | None]:
    """(at most `limit` ids of claims, where the next page begins). Without `retailer_id` those
    of every retailer. Raises asyncpg's errors."""
    if filters.must_scan:
        return await _scanned_ids(connection, jurisdiction, retailer_id, filters, before, limit)
    statement, arguments = page_query(jurisdiction, retailer_id, filters, before, limit + 1)
    ids = [row["claim_id"] for row in await connection.fetch(statement, *arguments)]
    return ids[:limit], ids[limit - 1] if len(ids) > limit else None


async def _scanned_ids(
    connection: asyncpg.Connection,
    jurisdiction: str,
    retailer_id: str | None,
    filters: ClaimFilter,
    before: UUID | None,
    limit: int,
) -> tuple[list[UUID], UUID | None]:
    """As `find_ids`, by a condition that no index answers: at most SCANNED_MAX claims are read. So
    a page may be short, or empty, and the next one goes on."""
    window, arguments = page_query(jurisdiction, retailer_id, filters, before, SCANNED_MAX)
    statement = f"""
        WITH scanned AS MATERIALIZED ({window}), hit AS (
            SELECT c.claim_id FROM scanned JOIN claim AS c USING (claim_id)
            WHERE {" AND ".join(_scanned_conditions(filters))}
            ORDER BY c.claim_id DESC LIMIT {limit + 1:d})
        SELECT ARRAY(SELECT claim_id FROM hit ORDER BY claim_id DESC) AS ids, count(*) AS scanned,
            (array_agg(claim_id ORDER BY claim_id))[1] AS last FROM scanned
    """  # noqa: S608
    row = await connection.fetchrow(statement, *arguments)
    ids: list[UUID] = row["ids"]
    if len(ids) > limit:
        return ids[:limit], ids[limit - 1]
    return ids, row["last"] if row["scanned"] == SCANNED_MAX else None


def _scanned_conditions(filters: ClaimFilter) -> list[str]:
    conditions = []
    if filters.invoiced is not None:
        conditions.append(f"c.state = 'confirmed' AND {_KEPT} AND {_INVOICED[filters.invoiced]}")
    if filters.red_letter_missing:
        conditions.append(_RED_LETTER_MISSING)
    return conditions


def page_query(
    jurisdiction: str,
    retailer_id: str | None,
    filters: ClaimFilter,
    before: UUID | None,
    rows_max: int,
) -> tuple[str, Sequence[object]]:
    """The statement that finds the ids, and its arguments. It holds only the given conditions, so
    each combination has its own plan and index."""
    conditions = ["c.jurisdiction = $1"]
    arguments: list[object] = [jurisdiction]

    def add(condition: str, value: object) -> None:
        arguments.append(value)
        conditions.append(condition.format(f"${len(arguments)}"))

    if retailer_id is not None:
        add("c.retailer_id = {}", retailer_id)
    elif filters.order_no is not None:
        # The index of order numbers begins with the retailer: one look-up for each of them.
        conditions.append(
            "c.retailer_id IN (SELECT retailer_id FROM retailer WHERE jurisdiction = $1)"
        )
    if filters.claim_id is not None:
        add("c.claim_id = {}", filters.claim_id)
    if filters.invoice_no is not None:
        # By any paper that was ever filed, in any spelling.
        add(
            "c.claim_id IN (SELECT claim_id FROM invoice_paper"
            " WHERE jurisdiction = $1 AND number = folded_invoice({}))",
            folded(filters.invoice_no),
        )
    if filters.order_no is not None:
        add("c.order_no = {}", filters.order_no)
    if filters.serial_no is not None:
        add(_OF_SERIAL, folded_serial(filters.serial_no))
    if filters.consumer_digests:
        add("c.consumer_digest = ANY ({}::bytea[])", filters.consumer_digests)
    if filters.state is not None:
        # Text, not an argument: a partial index covers the claims that are not confirmed, and the
        # planner uses it only if it sees the state.
        assert filters.state.isalpha(), "Bug! An unchecked state."
        conditions.append(f"c.state = '{filters.state}'")
    if filters.from_at is not None:
        add("c.claim_id >= {}", first_id(filters.from_at))
    until = [filters.until_at and first_id(filters.until_at), before]
    add("c.claim_id < {}", min((claim_id for claim_id in until if claim_id), default=LAST_ID))
    # The text holds no input.
    statement = f"SELECT c.claim_id FROM claim AS c WHERE {' AND '.join(conditions)}"  # noqa: S608
    statement += f" ORDER BY c.claim_id DESC LIMIT {rows_max:d}"
    return statement, arguments


def first_id(instant: datetime) -> UUID:
    """The lowest claim id of an instant. A UUIDv7 begins with its milliseconds."""
    since_epoch = instant - datetime.fromtimestamp(0, tz=instant.tzinfo)
    return UUID(int=(since_epoch // timedelta(milliseconds=1)) << 80)
