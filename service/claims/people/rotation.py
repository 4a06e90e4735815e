"""Replaces the personal-data key of a ledger that does not hold the data, while claims go on.

The ledger has only digests, so a new key cannot digest the data again. It wraps the former key's
digests instead (`digests.py`). No person may get more than a quota meanwhile. So for a time each
quota is booked under two digests, the former key's and the newest key's:

1. Workers get both keys and BUTIE_PII_ROTATING. They book each claim under both digests. The former
   digest goes on counting every claim.
2. `rotate` adds the newest digest to every older line, and books its quotas under it. From then on
   the newest digest counts every claim too, and the ledger refuses workers without the newest key.
   Before it changes any line, it creates the newest digest's rows in `quota_use`, empty. A refund
   that waits for a line's lock sees the changed line, but only those rows of `quota_use` that
   existed when its statement began.
3. Workers drop BUTIE_PII_ROTATING. They book under the newest digest alone.
4. `forget` removes the former key's digests, and wraps those that exist only once (people,
   fingerprints).

At every step one digest of a person counts all claims, so the constraint on `quota_use` holds. Each
line records the digests that it is booked under, so a refund gives back exactly that, and the audit
finds no breach.
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

# A batch holds its claims' locks for milliseconds, and a refund of one of them waits that long.
CLAIMS_MAX = 500

QUOTA_ROWS_MAX = 2000
# After this time every statement of a worker that began before has ended.
SETTLED_S = STATEMENT_S + 1

_HERE = Path(__file__).parent
_ADD_EMPTY_ROWS_SQL = """
WITH page AS (
    SELECT subject, quota, period, used_max FROM quota_use
    WHERE jurisdiction = $1 AND (subject, quota, period) > ($5, $6, $7)
    ORDER BY subject, quota, period LIMIT $8
),
added AS (
    INSERT INTO quota_use (jurisdiction, subject, quota, period, used, used_max)
    SELECT $1, wrapped_digest(subject, $2, $3, $4), quota, period, 0, used_max
    FROM page
    WHERE digest_generation(subject) = $2::int - 1
    ORDER BY 2, 3, 4
    ON CONFLICT DO NOTHING
)
SELECT subject, quota, period FROM page
ORDER BY subject DESC, quota DESC, period DESC LIMIT 1
"""
_ROTATE_SQL = (_HERE / "rotate.sql").read_text()
_DROP_FORMER_SQL = (_HERE / "drop_former_digests.sql").read_text()
# A statement that ends or refunds one of these claims locks the same row.
_LOCK_SQL = """
SELECT claim_id FROM claim WHERE jurisdiction = $1 AND claim_id > $2
ORDER BY claim_id LIMIT $3 FOR NO KEY UPDATE
"""
_KEY_SQL = "SELECT generation FROM pii_key WHERE jurisdiction = $1"
_ROTATED_SQL = """
UPDATE pii_key SET generation = $2, check_value = $3, since = now() WHERE jurisdiction = $1
"""
_DELETE_FORMER_ROWS_SQL = """
DELETE FROM quota_use
WHERE jurisdiction = $1 AND used = 0 AND digest_generation(subject) < $2
"""


async def check_keys(engine: AsyncEngine, jurisdiction: str, digester: Digester) -> None:
    """Raises Misconfigured when the ledger's digests were made with other keys: every buyer would
    look like a new person. A ledger without digests adopts these keys. A ledger that is away or
    not migrated yet is not checked."""
    known_key = sa.select(pii_key.c.generation, pii_key.c.check_value).where(
        pii_key.c.jurisdiction == jurisdiction
    )
    # During a rotation the ledger may still have the former key's generation.
    at_least = digester.generation - digester.rotating
    try:
        async with connect(engine) as connection:
            await connection.execute(
                sa.text(
                    "INSERT INTO pii_key VALUES (:jurisdiction, :generation, :check_value, now())"
                    " ON CONFLICT DO NOTHING"
                ),
                {
                    "jurisdiction": jurisdiction,
                    "generation": at_least,
                    "check_value": digester.check(at_least),
                },
            )
            generation, check_value = (await connection.execute(known_key)).one()
    except (LedgerAway, sa.exc.ProgrammingError):
        return
    if not at_least <= generation <= digester.generation or (
        digester.check(generation) != check_value
    ):
        raise Misconfigured(
            "BUTIE_PII_KEY is not the one that this ledger's digests are made with: with another, "
            "everybody's quotas would begin anew. The runbook says how a key is replaced."
        )


async def rotate(
    connection: asyncpg.Connection, jurisdiction: str, digester: Digester
) -> AsyncIterator[int]:
    """Step 2. Yields how many lines each batch changed, and repeats until a pass changes none; it
    may be interrupted and run again. Raises Misconfigured and asyncpg's errors."""
    if not digester.rotating:
        raise Misconfigured("Set BUTIE_PII_ROTATING, and roll it out, before the digests are made.")
    if await connection.fetchval(_KEY_SQL, jurisdiction) == digester.generation:
        raise Misconfigured("Every digest is there already: unset BUTIE_PII_ROTATING.")
    changed = 1
    while changed:
        changed = 0
        await _add_empty_rows(connection, jurisdiction, digester)
        await asyncio.sleep(SETTLED_S)
        async for lines in _batches(connection, _ROTATE_SQL, jurisdiction, digester):
            changed += lines
            yield lines
    await connection.execute(
        _ROTATED_SQL, jurisdiction, digester.generation, digester.check(digester.generation)
    )


async def forget(
    connection: asyncpg.Connection, jurisdiction: str, digester: Digester
) -> AsyncIterator[int]:
    """Step 4. Yields how many claims each batch changed; it may be run again. Raises Misconfigured
    and asyncpg's errors."""
    rotated = await connection.fetchval(_KEY_SQL, jurisdiction)
    if digester.generation == 1 or digester.rotating or rotated != digester.generation:
        raise Misconfigured(
            "Nothing can be forgotten yet: rotate first, then unset BUTIE_PII_ROTATING and roll "
            "that out."
        )
    async for claims in _batches(connection, _DROP_FORMER_SQL, jurisdiction, digester):
        yield claims
    await connection.execute(_DELETE_FORMER_ROWS_SQL, jurisdiction, digester.generation)


async def _add_empty_rows(
    connection: asyncpg.Connection, jurisdiction: str, digester: Digester
) -> None:
    newest = (digester.generation, *digester.pads())
    after: tuple[bytes, str, str] | None = (b"", "", "")
    while after is not None:
        after = await connection.fetchrow(
            _ADD_EMPTY_ROWS_SQL, jurisdiction, *newest, *after, QUOTA_ROWS_MAX
        )


async def _batches(
    connection: asyncpg.Connection, statement: str, jurisdiction: str, digester: Digester
) -> AsyncIterator[int]:
    after = UUID(int=0)
    while True:
        async with connection.transaction():
            rows = await connection.fetch(_LOCK_SQL, jurisdiction, after, CLAIMS_MAX)
            if not rows:
                return
            claims = [row["claim_id"] for row in rows]
            # A new statement has a new snapshot: it sees what the lock had to wait for.
            changed = await connection.fetchval(
                statement, jurisdiction, claims, digester.generation, *digester.pads()
            )
        after = claims[-1]
        yield changed
