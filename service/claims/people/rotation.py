"""A new personal-data key for a ledger that does not hold what was digested, while claims go on.

The digests that the former key made are wrapped: digested once more, with the newest key. Rights
are what must not be passed meanwhile, so they are booked under both digests for a time:

1. Workers with both keys and BUTIE_PII_ROTATING book each claim under the former digest, which
   so goes on counting every claim, and under the newest.
2. `rotate` gives every older line the newest digest as well, and its right. From then on the
   newest, too, counts every claim, and the ledger refuses workers that do not know the key. The
   rights' rows come first, and empty: a refund that waits for its claim while we are at it sees
   the line as we leave it, but of the rights only those that were there when it began.
3. Workers without BUTIE_PII_ROTATING book under the newest alone.
4. `forget` takes out what the former key made, and wraps the rest that it digested.

At every step the constraint on `quota_use` holds for a digest that counts all, and each line says
what it has taken under which: so refunds give back the right thing, and the audit is at ease.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from service.claims.people.digests import Digester
from service.config import Misconfigured
from service.db.engine import STATEMENT_S, LedgerAway, connect
from service.db.tables import pii_key

# So few that a till whose refund meets them waits for milliseconds.
CLAIMS_AT_A_TIME = 500

RIGHTS_AT_A_TIME = 2000
# No statement of the service's that began before lives longer.
SETTLED_S = STATEMENT_S + 1

_HERE = Path(__file__).parent
_ROWS_SQL = """
WITH page AS (
    SELECT subject, quota, period, used_max FROM quota_use
    WHERE jurisdiction = $1 AND (subject, quota, period) > ($5, $6, $7)
    ORDER BY subject, quota, period LIMIT $8
),
made AS (
    INSERT INTO quota_use (jurisdiction, subject, quota, period, used, used_max)
    SELECT $1, set_byte('\\x00'::bytea, 0, $2::int)
        || substr(sha256($4::bytea || sha256($3::bytea || subject)), 1, 16), quota, period, 0,
        used_max
    FROM page
    WHERE CASE WHEN length(subject) = 16 THEN 1 ELSE get_byte(subject, 0) END = $2::int - 1
    ORDER BY 2, 3, 4
    ON CONFLICT DO NOTHING
)
SELECT subject, quota, period FROM page
ORDER BY subject DESC, quota DESC, period DESC LIMIT 1
"""
_ROTATE_SQL = (_HERE / "rotate.sql").read_text()
_FORGET_SQL = (_HERE / "drop_former_digests.sql").read_text()
# Whoever ends or refunds one of these claims waits for us, and we for them.
_LOCK_SQL = """
SELECT claim_id FROM claim WHERE jurisdiction = $1 AND claim_id > $2
ORDER BY claim_id LIMIT $3 FOR NO KEY UPDATE
"""
_KEY_SQL = "SELECT generation FROM pii_key WHERE jurisdiction = $1"
_ROTATED_SQL = """
UPDATE pii_key SET generation = $2, check_value = $3, since = now() WHERE jurisdiction = $1
"""
_EMPTY_SQL = """
DELETE FROM quota_use
WHERE jurisdiction = $1 AND used = 0
    AND CASE WHEN length(subject) = 16 THEN 1 ELSE get_byte(subject, 0) END < $2
"""


async def check_keys(engine: AsyncEngine, jurisdiction: str, digester: Digester) -> None:
    """Raises Misconfigured when the ledger's digests are made with other keys: whoever came
    would look like a new person. A ledger without digests takes these; one that is away or not
    migrated yet is not asked."""
    ours = sa.select(pii_key.c.generation, pii_key.c.check_value).where(
        pii_key.c.jurisdiction == jurisdiction
    )
    # While a key is being brought in, the one before it is what stands.
    at_least = digester.generation - digester.rotating
    try:
        async with connect(engine) as connection:
            await connection.execute(
                sa.text(
                    "INSERT INTO pii_key VALUES (:place, :generation, :value, now())"
                    " ON CONFLICT DO NOTHING"
                ),
                {"place": jurisdiction, "generation": at_least, "value": digester.check(at_least)},
            )
            generation, check_value = (await connection.execute(ours)).one()
    except (LedgerAway, sa.exc.ProgrammingError):
        return
    if not at_least <= generation <= digester.generation or (
        digester.check(generation) != check_value
    ):
        raise Misconfigured(
            "BUTIE_PII_KEY is not the one that this ledger's digests are made with: with another, "
            "everybody's rights would begin anew. The runbook says how a key is replaced."
        )


async def rotate(
    connection: asyncpg.Connection, jurisdiction: str, digester: Digester
) -> AsyncIterator[int]:
    """Step 2; yields how many lines each part has changed. Repeats until there was nothing left
    to do, so that it may be broken off and run again. Raises Misconfigured or asyncpg's errors."""
    if not digester.rotating:
        raise Misconfigured("Set BUTIE_PII_ROTATING, and roll it out, before the digests are made.")
    if await connection.fetchval(_KEY_SQL, jurisdiction) == digester.generation:
        raise Misconfigured("Every digest is there already: unset BUTIE_PII_ROTATING.")
    changed = 1
    while changed:
        changed = 0
        await _make_rows(connection, jurisdiction, digester)
        await asyncio.sleep(SETTLED_S)
        async for lines in _parts(connection, _ROTATE_SQL, jurisdiction, digester):
            changed += lines
            yield lines
    await connection.execute(
        _ROTATED_SQL, jurisdiction, digester.generation, digester.check(digester.generation)
    )


async def forget(
    connection: asyncpg.Connection, jurisdiction: str, digester: Digester
) -> AsyncIterator[int]:
    """Step 4; yields how many claims each part has changed; may be run again. Raises
    Misconfigured or asyncpg's errors."""
    rotated = await connection.fetchval(_KEY_SQL, jurisdiction)
    if digester.generation == 1 or digester.rotating or rotated != digester.generation:
        raise Misconfigured(
            "Nothing can be forgotten yet: rotate first, then unset BUTIE_PII_ROTATING and roll "
            "that out."
        )
    async for claims in _parts(connection, _FORGET_SQL, jurisdiction, digester):
        yield claims
    await connection.execute(_EMPTY_SQL, jurisdiction, digester.generation)


async def _make_rows(connection: asyncpg.Connection, jurisdiction: str, digester: Digester) -> None:
    newest = (digester.generation, *digester.pads())
    after: tuple[bytes, str, str] | None = (b"", "", "")
    while after is not None:
        after = await connection.fetchrow(
            _ROWS_SQL, jurisdiction, *newest, *after, RIGHTS_AT_A_TIME
        )


async def _parts(
    connection: asyncpg.Connection, statement: str, jurisdiction: str, digester: Digester
) -> AsyncIterator[int]:
    after = UUID(int=0)
    while True:
        async with connection.transaction():
            rows = await connection.fetch(_LOCK_SQL, jurisdiction, after, CLAIMS_AT_A_TIME)
            if not rows:
                return
            claims = [row["claim_id"] for row in rows]
            # A statement of its own: it sees what those did for whom the lock had to wait.
            changed = await connection.fetchval(
                statement, jurisdiction, claims, digester.generation, *digester.pads()
            )
        after = claims[-1]
        yield changed
