"""One audit: every invariant in turn; the result is stored for the metrics."""

import json
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import asyncpg

from service.audit import amounts, claims, gate, keys, pools, quotas, serials
from service.audit.invariant import Finding
from service.audit.proofs import Start, forget, start
from service.audit.proofs import keep as keep_proof
from service.claims.gate.gate import Gate
from service.claims.ledger.ledger import Ledger
from service.core.policy import PolicyBook

INVARIANTS = (
    pools.INVARIANT,
    serials.INVARIANT,
    quotas.INVARIANT,
    keys.INVARIANT,
    claims.INVARIANT,
    amounts.INVARIANT,
)

_Result = TypeVar("_Result")

_NO_GATE = "no BUTIE_REDIS_URL is set"
_KEEP = """
INSERT INTO audit_run (jurisdiction, finished_at, breaches, everything)
VALUES ($1, $2, $3::jsonb, $4)
"""


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """The result of one invariant. `finding` is a sentence when it could not be checked. `meaning`
    is what a breach would mean."""

    name: str
    meaning: str
    finding: Finding | str
    seconds: float


# Two audits at a time would remove each other's marks: the later one keeps no proof.
_OURS = "SELECT pg_try_advisory_lock(hashtext('butie audit ' || $1))"


async def audit(
    connection: asyncpg.Connection,
    jurisdiction: str,
    book: PolicyBook,
    gate_and_ledger: tuple[Gate, Ledger] | None,
    now: datetime,
    *,
    full: bool = False,
) -> tuple[Start, list[AuditVerdict]]:
    """Where the audit starts, and the verdict on each invariant. What an earlier audit has proved
    is not looked at again, except with `full`. Raises asyncpg's errors."""
    ours = await connection.fetchval(_OURS, jurisdiction)
    verdicts = []
    async with connection.transaction(isolation="repeatable_read"):
        begun = await start(connection, jurisdiction, book, full=full)
        for invariant in INVARIANTS:
            finding, seconds = await _timed(invariant.check(begun.snapshot))
            verdicts.append(AuditVerdict(invariant.name, invariant.meaning, finding, seconds))
        if ours:
            # After a breach every audit looks at everything, until one finds nothing: a breach
            # that only `full` sees stays in sight.
            await forget(connection, jurisdiction)
            if not any(isinstance(v.finding, Finding) and v.finding.breaches for v in verdicts):
                await keep_proof(begun, now)
    compared, seconds = await _timed(_compare(gate_and_ledger))
    verdicts.append(AuditVerdict(gate.INVARIANT_NAME, gate.INVARIANT_MEANING, compared, seconds))
    return begun, verdicts


async def _compare(gate_and_ledger: tuple[Gate, Ledger] | None) -> Finding | str:
    return await gate.check(*gate_and_ledger) if gate_and_ledger else _NO_GATE


async def _timed(work: Awaitable[_Result]) -> tuple[_Result, float]:
    started = time.monotonic()
    return await work, time.monotonic() - started


async def keep(
    connection: asyncpg.Connection,
    begun: Start,
    results: list[AuditVerdict],
    now: datetime,
) -> None:
    """Store the counts of breaches, which `/metrics` shows, and whether everything was looked at.
    Raises asyncpg's errors."""
    breaches = {
        result.name: result.finding.breaches
        for result in results
        if isinstance(result.finding, Finding)
    }
    jurisdiction, everything = begun.snapshot.jurisdiction, begun.proved_at is None
    await connection.execute(_KEEP, jurisdiction, now, json.dumps(breaches), everything)
