"""What an audit without a breach keeps, so that the next one need not look at it again.

An audit proves the claims before the first open day of the journal, and each closed day. What it
proved stands until one of these is seen:

- a row of claim, claim_line or journal was changed or deleted: triggers mark it (`audit_mark`), in
  the transaction that does it, and the claim is looked at again;
- rows were added to these: the counts differ;
- a claim or a line was deleted, or got another id or jurisdiction: everything is looked at again;
- one of these tables was emptied or rewritten: its file is another one;
- a row of idempotency_key, serial_claimed or quota_use was changed, dropped or added: its sum
  differs (sums.py);
- a day's digest differs (days.py);
- a trigger is missing, was disabled or was replaced, also if only for a moment: its row in the
  catalogue is another one;
- a policy file or the code that prices by it was changed.

Not seen: changes of the data files below PostgreSQL; what logical replication applies, which fires
no trigger of a statement; marks that are deleted and proofs that are changed by hand, for which the
service's password is enough. `butie audit --full` trusts none of this.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from uuid import UUID

import asyncpg

import service.audit
import service.core
from service.audit.days import keep_days, read_days
from service.audit.invariant import Snapshot
from service.audit.sums import FIRST_CLAIM, KEYS, QUOTAS, SERIALS, read_sums
from service.core.calendar import start_of_day
from service.core.policy import PolicyBook

# To look at so many claims one by one takes longer than to look at all in order.
MARKS_MAX = 100_000
TRIGGERS = 6
_SIDES = (KEYS, SERIALS, QUOTAS)
_NO_GUARD = (
    "the triggers that mark changes are missing or disabled; the tables' owner enables them with "
    "ALTER TABLE claim ENABLE ALWAYS TRIGGER audit_marks_update, and audit_marks_delete; the same "
    "for claim_line and journal"
)

_PROOF_SQL = "SELECT * FROM audit_proof WHERE jurisdiction = $1"
_GUARD_SQL = r"""
SELECT pg_relation_filenode('claim'), pg_relation_filenode('claim_line'),
    pg_relation_filenode('journal'), count(*) FILTER (WHERE t.tgenabled = 'A') AS enabled,
    coalesce(string_agg(concat_ws(' ', t.tgrelid::oid, t.oid, t.xmin, p.oid, p.xmin), ','
        ORDER BY t.oid), '') AS rows
FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE t.tgname LIKE 'audit\_marks\_%'
    AND t.tgrelid IN ('claim'::regclass, 'claim_line'::regclass, 'journal'::regclass)
"""
_MARKS_SQL = """
SELECT count(*) FILTER (WHERE claim_id < $2) AS marks,
    count(*) FILTER (WHERE claim_id IS NULL) AS everything
FROM audit_mark WHERE jurisdiction = $1
"""
# Each from an index alone. They count all jurisdictions: a line does not say its own.
_CLAIMS_SQL = "SELECT count(*) FROM claim"
_LINES_SQL = "SELECT count(*) FROM claim_line"
_LATER_SQL = """
SELECT (SELECT count(*) FROM claim WHERE claim_id >= $1),
    (SELECT count(*) FROM claim_line WHERE claim_id >= $1)
"""
_FORGET_SQL = (
    "DELETE FROM audit_mark WHERE jurisdiction = $1",
    "DELETE FROM audit_proof WHERE jurisdiction = $1",
)
_KEEP_SQL = """
INSERT INTO audit_proof (jurisdiction, proved_at, since_claim, seed, claims, lines, keys_sum,
    serials_sum, quotas_sum, policies, guard)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11)
"""


@dataclass(frozen=True, slots=True)
class Start:
    """Where an audit starts. `claims`, `lines`: how many there are. `proved_at`: when the proof was
    made that it relies on. `why`: the reason if it relies on none."""

    snapshot: Snapshot
    claims: int
    lines: int
    proved_at: datetime | None = None
    why: str = ""


async def start(
    connection: asyncpg.Connection, jurisdiction: str, book: PolicyBook, *, full: bool
) -> Start:
    """Read what was proved, and what of it can be relied on. Raises asyncpg's errors."""
    proof = await connection.fetchrow(_PROOF_SQL, jurisdiction)
    claims = (await read_sums(connection, _CLAIMS_SQL))[0]
    lines = (await read_sums(connection, _LINES_SQL))[0]
    why = "--full" if full else await _doubt(connection, jurisdiction, book, proof, [claims, lines])
    days = await read_days(connection, jurisdiction, proved=not why)
    if why:
        seed = secrets.randbits(62)
        return Start(Snapshot(connection, jurisdiction, book, days, seed), claims, lines, why=why)
    proved: dict[str, Decimal] = {side.column: proof[side.column] for side in _SIDES}
    snapshot = Snapshot(
        connection,
        jurisdiction,
        book,
        days,
        proof["seed"],
        proof["since_claim"],
        proof["lines"],
        proved,
    )
    return Start(snapshot, claims, lines, proof["proved_at"])


async def _doubt(
    connection: asyncpg.Connection,
    jurisdiction: str,
    book: PolicyBook,
    proof: asyncpg.Record | None,
    counts: list[int],
) -> str:
    """Why the proof cannot be relied on; empty if it can."""
    guard = await _guard(connection)
    if guard is None:
        return _NO_GUARD
    if proof is None:
        return "no earlier audit has proved a closed day, or the last one found a breach"
    if guard != proof["guard"]:
        return "the triggers, the tables' files or the rules are not those of the earlier audit"
    policies = _digests(book)
    if any(policies.get(name) != kept for name, kept in json.loads(proof["policies"]).items()):
        return "a policy file was changed"
    marks, everything = await connection.fetchrow(_MARKS_SQL, jurisdiction, proof["since_claim"])
    if everything or marks > MARKS_MAX:
        return "very many rows were changed, or claims or lines are gone"
    later = await connection.fetchrow(_LATER_SQL, proof["since_claim"])
    earlier = [count - new for count, new in zip(counts, later, strict=True)]
    if earlier != [proof["claims"], proof["lines"]]:
        return "claims or lines of closed days were added or are gone"
    return ""


async def forget(connection: asyncpg.Connection, jurisdiction: str) -> None:
    """Remove the former proof, and the marks that the audit has looked at. Only in the audit's own
    transaction, so that a later mark stays. Raises asyncpg's errors."""
    for sql in _FORGET_SQL:
        await connection.execute(sql, jurisdiction)


async def keep(begun: Start, now: datetime) -> None:
    """Store what the audit has proved, in place of the proof that `forget` removed. Raises
    asyncpg's errors."""
    snapshot = begun.snapshot
    connection, jurisdiction = snapshot.connection, snapshot.jurisdiction
    await keep_days(connection, jurisdiction, snapshot.days)
    guard = await _guard(connection)
    if guard is None or not snapshot.days.closed:
        return
    since = max(first_claim_after(max(snapshot.days.closed)), snapshot.since or FIRST_CLAIM)
    claims, lines = await connection.fetchrow(_LATER_SQL, since)
    sums = [
        snapshot.totals[side.column]
        - await side.of_claims(connection, jurisdiction, snapshot.seed, since)
        for side in _SIDES
    ]
    policies = json.dumps(_digests(snapshot.book))
    await connection.execute(
        _KEEP_SQL,
        jurisdiction,
        now,
        since,
        snapshot.seed,
        begun.claims - claims,
        begun.lines - lines,
        *sums,
        policies,
        guard,
    )


def first_claim_after(day: date) -> UUID:
    """The least id of a claim of a later business day: an id begins with its milliseconds."""
    return UUID(int=round(start_of_day(day + timedelta(days=1)).timestamp() * 1000) << 80)


async def _guard(connection: asyncpg.Connection) -> str | None:
    """The tables, the triggers and the rules as they are; None if a trigger is missing or
    disabled."""
    *files, enabled, rows = await connection.fetchrow(_GUARD_SQL)
    return f"{files} {rows} {_rules()}" if enabled == TRIGGERS else None


@cache
def _rules() -> str:
    """The digest of the code that prices and audits."""
    digest = hashlib.sha256()
    for module in (service.core, service.audit):
        for file in sorted(Path(module.__path__[0]).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _digests(book: PolicyBook) -> dict[str, str]:
    return {
        policy.id: hashlib.sha256(policy.model_dump_json().encode()).hexdigest()
        for policy in book.policies
    }
