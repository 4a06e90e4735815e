"""Sums that show whether a table still repeats what the claims say.

`idempotency_key`, `serial_claimed` and `quota_use` say again what claims and lines say. Each of
their rows gives a number, a hash of it, and each claim or line gives the numbers of the rows that
it should have. If both sums are equal, so are the rows. Over the claims since a day alone the
difference of the two sums must stay what it was when the earlier claims were proved.

A row that was changed, dropped or added changes the sum, however that was done. The chance
that it does not is 1 in 2**62, and 1 in 2**32 for a quota, whose amounts must add up. For the
amounts and entries of claims.py it is 1 in 2**31. The hashes depend on a random `seed`, so no row
can be chosen for its hash in advance.

To read a table once in order is quick. To find the partner of each of its rows is not.
"""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import asyncpg

FIRST_CLAIM = UUID(int=0)

# The largest amount that counts: with a hash of 32 bits the product fits into 64.
AMOUNT_MAX = 2**31 - 1

# $1 jurisdiction $2 seed $3 first claim. What was touched before that claim counts as it is, less
# what it was when it was proved: the first mark has that.
_NEW_CLAIMS = """
    SELECT 1 AS sign, claim_id, retailer_id, idempotency_key FROM claim
    WHERE jurisdiction = $1 AND claim_id >= $3
"""
_TOUCHED_CLAIMS = """
    UNION ALL
    SELECT 1, claim_id, retailer_id, idempotency_key FROM marked JOIN claim USING (claim_id)
    WHERE claim.jurisdiction = $1
    UNION ALL
    SELECT -1, claim_id, former ->> 'retailer_id', former ->> 'idempotency_key' FROM marked
"""
_NEW_LINES = """
    SELECT 1 AS sign, claim_id, l.state, l.serial_no, l.imei, l.facts ->> 'imei2' AS imei2, l.quotas
    FROM claim AS c JOIN claim_line AS l USING (claim_id)
    WHERE c.jurisdiction = $1 AND c.claim_id >= $3
"""
_TOUCHED_LINES = """
    UNION ALL
    SELECT 1, claim_id, l.state, l.serial_no, l.imei, l.facts ->> 'imei2', l.quotas
    FROM marked JOIN claim_line AS l USING (claim_id, line_no)
    UNION ALL
    SELECT -1, claim_id, former ->> 'state', former ->> 'serial_no', former ->> 'imei',
        former ->> 'imei2', former -> 'quotas'
    FROM marked
"""
_MARKED = """
WITH marked AS MATERIALIZED (
    SELECT DISTINCT ON (claim_id, line_no) claim_id, line_no, former FROM audit_mark
    WHERE jurisdiction = $1 AND relation = '{relation}' AND claim_id < $3
    ORDER BY claim_id, line_no, mark_no
)
"""


async def read_sums(connection: asyncpg.Connection, sql: str, *arguments: object) -> asyncpg.Record:
    """The one row of a statement that adds up many. Not by `fetchrow`: with a limit to the rows,
    PostgreSQL reads with one process alone. Raises asyncpg's errors."""
    return (await connection.fetch(sql, *arguments))[0]


@dataclass(frozen=True, slots=True)
class TableSum:
    """`table_sql` ($1 jurisdiction, $2 seed): how many rows, and their sum. `claims_sql`: the sum
    that `rows` should have there. `column` of audit_proof keeps the difference."""

    column: str
    table_sql: str
    claims_sql: str
    relation: str

    async def of_table(
        self, connection: asyncpg.Connection, jurisdiction: str, seed: int
    ) -> tuple[int, Decimal]:
        rows, total = await read_sums(connection, self.table_sql, jurisdiction, seed)
        return rows, total

    async def of_claims(
        self, connection: asyncpg.Connection, jurisdiction: str, seed: int, since: UUID
    ) -> Decimal:
        """The sum for the claims from `since` on, and what marks have changed for earlier ones."""
        new, touched = {
            "claim": (_NEW_CLAIMS, _TOUCHED_CLAIMS),
            "claim_line": (_NEW_LINES, _TOUCHED_LINES),
        }[self.relation]
        if since == FIRST_CLAIM:  # without marks, so that several processes can read
            sql = self.claims_sql.format(rows=f"({new})")
        else:
            sql = _MARKED.format(relation=self.relation) + self.claims_sql.format(
                rows=f"({new}{touched})"
            )
        total: Decimal = (await read_sums(connection, sql, jurisdiction, seed, since))[0]
        return total


def _hash(serial_no: str) -> str:
    """The sum of four such numbers fits into 64 bits."""
    return f"(hashtextextended({serial_no}, uuid_hash_extended(claim_id, $2)) >> 2)"


def _weight(subject_hex: str) -> str:
    # As text: PostgreSQL hashes bytea by a function only from version 18 on.
    named = f"hashtextextended(period, hashtextextended({subject_hex}, $2))"
    return f"(hashtextextended(quota, {named}) >> 32)"


_KEY = """(hashtextextended(
    idempotency_key, hashtextextended(retailer_id, uuid_hash_extended(claim_id, $2))) >> 2)"""

KEYS = TableSum(
    "keys_sum",
    f"""
    SELECT count(*), coalesce(sum({_KEY}), 0)
    FROM idempotency_key WHERE jurisdiction = $1 AND claim_id IS NOT NULL
    """,  # noqa: S608
    f"SELECT coalesce(sum(sign * {_KEY}), 0) FROM {{rows}} AS row",  # noqa: S608
    "claim",
)
# A folded spelling that differs has a row of its own. A line of release 0.1.0 may have none: then
# the sums differ, and the rows are paired.
SERIALS = TableSum(
    "serials_sum",
    f"""
    SELECT count(*), coalesce(sum({_hash("serial_no")}), 0)
    FROM serial_claimed WHERE jurisdiction = $1
    """,  # noqa: S608
    f"""
    SELECT coalesce(sum(sign * ({_hash("serial_no")}
        + CASE WHEN folded <> serial_no THEN {_hash("folded")} ELSE 0 END
        + CASE WHEN imei IS NOT NULL AND imei NOT IN (serial_no, folded)
            THEN {_hash("imei")} ELSE 0 END
        + CASE WHEN imei2 IS NOT NULL AND imei2 NOT IN (serial_no, folded, coalesce(imei, ''))
            THEN {_hash("imei2")} ELSE 0 END)), 0)
    FROM (
        SELECT sign, claim_id, upper(serial_no) AS serial_no, folded_serial(serial_no) AS folded,
            imei, imei2
        FROM {{rows}} AS row WHERE state IN ('reserved', 'confirmed')
    ) AS line
    """,  # noqa: S608
    "claim_line",
)
# Linear in the amounts, for several lines may add to one row. A quota that was passed adds 1.
QUOTAS = TableSum(
    "quotas_sum",
    f"""
    SELECT count(*), coalesce(
        sum({_weight("encode(subject, 'hex')")} * least(used, {AMOUNT_MAX})
            + (used > used_max)::int), 0)
    FROM quota_use WHERE jurisdiction = $1
    """,  # noqa: S608
    f"""
    SELECT coalesce(sum(sign * {_weight("subject")}
        * least(greatest(amount, -{AMOUNT_MAX}), {AMOUNT_MAX})), 0)
    FROM {{rows}} AS row, jsonb_to_recordset(row.quotas)
        AS q (subject text, quota text, period text, amount bigint, restored boolean)
    WHERE state IN ('reserved', 'confirmed') OR (state = 'refunded' AND restored IS FALSE)
    """,  # noqa: S608
    "claim_line",
)
