"""The claims and lines of the ledger for a period, as units that can be paired with rows.

A sale can be booked some days after it was made. So claims that were booked in the days around the
period are paired as well. A claim without a row is reported only if it was booked in the period.
"""

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from service.finance.reconcile.mapping import KEY_SEPARATOR, NO_KEY, ColumnMapping

# A till may send a sale 72 hours late. Its day may be closed then, which adds a day.
AROUND_DAYS = 4


@dataclass(frozen=True, slots=True)
class ReconcileScope:
    """The entries booked from `from_on` to `to_on`, both inclusive, of a retailer or a store."""

    jurisdiction: str
    from_on: date
    to_on: date
    retailer: str | None = None
    store: str | None = None

    def where(self, prefix: str = "") -> str:
        """The condition. Its parameters are those of `arguments`."""
        return (
            f"{prefix}jurisdiction = $1 AND ($4::text IS NULL OR {prefix}retailer_id = $4)"
            f" AND ($5::text IS NULL OR {prefix}store_id = $5)"
        )

    def arguments(self, until: int) -> list[object]:
        return [self.jurisdiction, self.from_on, self.to_on, self.retailer, self.store, until]


# SQL of each key: `g` is the unit, `c` its claim, `l` its line.
KEY_SQL = {
    "claim_id": "g.claim_id::text",
    "order_no": "c.order_no",
    "invoice_no": "g.invoice_no",
    "store_id": "g.store_id",
    "line_no": "g.line_no::text",
    "serial_no": "upper(l.serial_no)",
}


# SQL of the amount of each unit: `p` is its line or its claim.
AMOUNT_SQL = {"granted": "g.granted_fen", "net": "g.net_fen", "price": "p.price_fen"}
# SQL of what came back of each unit: all of it, and what of it was booked in the period. The ledger
# does not have the part of a price that came back.
RETURNED_SQL = "g.granted_fen - g.net_fen, g.returned_fen"
RETURNED_PRICE_SQL = ", ".join(["CASE WHEN g.state = 'refunded' THEN p.price_fen END"] * 2)


def units_sql(scope: ReconcileScope, mapping: ColumnMapping) -> str:
    """A query that returns (key, claim_id, line_no, booked_on, amount_fen, state) of each unit, and
    for a platform's file (returned_fen, returned_in_period_fen), which are null if not known."""
    invoice = _invoice(mapping)
    window = f"BETWEEN $2::date - {AROUND_DAYS} AND $3::date + {AROUND_DAYS}"
    where = scope.where()
    grants = "SELECT claim_id, line_no, store_id, amount_fen, booked_on FROM journal"
    granted = f"""
        WITH granted AS (
            {grants} WHERE {where} AND kind = 'grant' AND booked_on {window} AND entry_no <= $6
            {_earlier(grants, where, window) if mapping.profile else ""}
        ), returned AS (
            SELECT claim_id, line_no, amount_fen,
                CASE WHEN booked_on BETWEEN $2 AND $3 THEN -amount_fen ELSE 0 END AS in_period_fen
            FROM journal WHERE {where} AND kind = 'refund' AND entry_no <= $6
        ), line AS (
            SELECT g.*, g.amount_fen + coalesce(r.amount_fen, 0) AS net_fen,
                r.claim_id IS NOT NULL AS refunded,
                coalesce(r.in_period_fen, 0) AS returned_fen{invoice.column}
            FROM granted AS g LEFT JOIN returned AS r USING (claim_id, line_no) {invoice.joins("g")}
        ), unit AS ({_units(mapping)})
    """  # noqa: S608
    unbooked = f"""
        , unbooked AS (
            SELECT c.claim_id, {"l.line_no" if mapping.by_line else "NULL::smallint AS line_no"},
                c.store_id, c.state{", NULL::text AS invoice_no" if invoice.column else ""}
            FROM claim AS c {"JOIN claim_line AS l USING (claim_id)" if mapping.by_line else ""}
            WHERE {scope.where("c.")} AND c.state IN ('reserved', 'cancelled', 'expired')
                AND (c.created_at AT TIME ZONE 'Asia/Shanghai')::date {window}
        )
    """  # noqa: S608
    amount = AMOUNT_SQL[mapping.amount_is]
    returned = RETURNED_PRICE_SQL if mapping.amount_is == "price" else RETURNED_SQL
    return f"""
        {granted} {unbooked}
        SELECT {_key(mapping)}, g.claim_id::text, g.line_no, g.booked_on, {amount}, g.state
            {f", {returned}" if mapping.profile else ""}
        FROM unit AS g {_joins(mapping)}
        UNION ALL SELECT {_key(mapping)}, g.claim_id::text, g.line_no, NULL, 0, g.state
            {", NULL, NULL" if mapping.profile else ""}
        FROM unbooked AS g {_joins(mapping)}
    """  # noqa: S608


def _earlier(grants: str, where: str, window: str) -> str:
    """The earlier sales that have a refund in the period: a platform's file has that refund."""
    return f"""
        UNION {grants} WHERE {where} AND kind = 'grant' AND entry_no <= $6 AND claim_id IN (
            SELECT claim_id FROM journal
            WHERE {where} AND kind = 'refund' AND booked_on {window} AND entry_no <= $6)
    """  # noqa: S608


def movements_sql(scope: ReconcileScope, mapping: ColumnMapping) -> str:
    """A query that returns (key, claim_id, line_no, booked_on, amount_fen, state, entry_no) of each
    payment and refund that was booked in the period: what was booked for a claim at one time, with
    its last entry.

    Entries outside the period do not count, nor the present state of a claim. So the units of a
    closed period are always the same. With the days around it they would not be: an entry of an
    open day could pair with a row that had none.
    """
    invoice = _invoice(mapping)
    line_no = "j.line_no" if mapping.by_line else "NULL::smallint AS line_no"
    return f"""
        WITH unit AS (
            SELECT j.claim_id, {line_no}, min(store_id) AS store_id, booked_on,
                sum(amount_fen)::bigint AS amount_fen, kind,
                max(entry_no) AS entry_no{invoice.column}
            FROM journal AS j {invoice.joins("j")}
            WHERE {scope.where("j.")} AND kind IN ('grant', 'refund')
                AND booked_on BETWEEN $2 AND $3 AND entry_no <= $6
            GROUP BY j.claim_id, {"j.line_no, " if mapping.by_line else ""}kind, booked_on,
                booked_at{invoice.group}
        )
        SELECT {_key(mapping)}, g.claim_id::text, g.line_no, g.booked_on, g.amount_fen,
            CASE g.kind WHEN 'grant' THEN 'confirmed' ELSE 'refunded' END AS state, g.entry_no
        FROM unit AS g {_joins(mapping)}
    """  # noqa: S608


def _units(mapping: ColumnMapping) -> str:
    column = ", invoice_no" if _invoice(mapping).column else ""
    if mapping.by_line:
        return f"""
            SELECT claim_id, line_no, store_id, booked_on, amount_fen AS granted_fen, net_fen,
                returned_fen,
                CASE WHEN refunded THEN 'refunded' ELSE 'confirmed' END AS state{column}
            FROM line
        """  # noqa: S608
    return f"""
        SELECT claim_id, NULL::smallint AS line_no, min(store_id) AS store_id,
            min(booked_on) AS booked_on, sum(amount_fen)::bigint AS granted_fen,
            sum(net_fen)::bigint AS net_fen, sum(returned_fen)::bigint AS returned_fen,
            CASE WHEN bool_and(refunded) THEN 'refunded' WHEN bool_or(refunded)
                THEN 'partly_refunded' ELSE 'confirmed' END AS state{column}
        FROM line GROUP BY claim_id{column}
    """  # noqa: S608


class _Invoice(NamedTuple):
    """What a query has of the invoice of each line, if it is a key: then a unit is what the invoice
    has of the claim. All parts are empty otherwise."""

    column: str = ""
    group: str = ""

    def joins(self, entry: str) -> str:
        if not self.column:
            return ""
        return f"""
            LEFT JOIN invoice AS i ON i.claim_id = {entry}.claim_id
            LEFT JOIN line_invoiced AS o
                ON o.claim_id = {entry}.claim_id AND o.line_no = {entry}.line_no
        """


def _invoice(mapping: ColumnMapping) -> _Invoice:
    if all(name != "invoice_no" for name, _ in mapping.keys):
        return _Invoice()
    number = "coalesce(o.number, i.number)"
    return _Invoice(f", {number} AS invoice_no", f", {number}")


def _key(mapping: ColumnMapping) -> str:
    """The key of a unit. A unit that lacks a key column, such as a claim without an invoice, gets
    one that no row can have."""
    parts = f" || E'\\x{ord(KEY_SEPARATOR):02x}' || ".join(
        KEY_SQL[name] for name, _ in mapping.keys
    )
    alone = f"E'\\x{ord(NO_KEY):02x}' || g.claim_id || coalesce('/' || g.line_no, '')"
    return f"coalesce({parts}, {alone}) AS key"


def _joins(mapping: ColumnMapping) -> str:
    """The joins that the keys and the amount need."""
    names = {name for name, _ in mapping.keys} | {mapping.amount_is}
    joins = {
        "order_no": "LEFT JOIN claim AS c ON c.claim_id = g.claim_id",
        "serial_no": "LEFT JOIN claim_line AS l"
        " ON l.claim_id = g.claim_id AND l.line_no = g.line_no",
        "price": "LEFT JOIN claim_line AS p ON p.claim_id = g.claim_id AND p.line_no = g.line_no"
        if mapping.by_line
        else "LEFT JOIN claim AS p ON p.claim_id = g.claim_id",
    }
    return " ".join(sql for name, sql in joins.items() if name in names)
