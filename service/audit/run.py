"""One audit: every invariant in turn; the result is stored for the metrics."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from service.audit import amounts, claims, gate, keys, pools, rights, serials
from service.audit.invariant import Finding, Snapshot
from service.claims.gate.gate import Gate
from service.claims.ledger.ledger import Ledger
from service.core.policy import PolicyBook

INVARIANTS = (
    pools.INVARIANT,
    serials.INVARIANT,
    rights.INVARIANT,
    keys.INVARIANT,
    claims.INVARIANT,
    amounts.INVARIANT,
)

_KEEP = """
INSERT INTO audit_run (jurisdiction, finished_at, breaches)
VALUES ($1, $2, $3::jsonb)
"""


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """The result of one invariant. Without a `finding` it could not be checked, and `unsaid` says
    why."""

    name: str
    meaning: str
    finding: Finding | None
    unsaid: str
    seconds: float


async def audit(
    connection: asyncpg.Connection,
    jurisdiction: str,
    book: PolicyBook,
    gate_and_ledger: tuple[Gate, Ledger] | None,
) -> AsyncIterator[AuditVerdict]:
    """The invariants one after another. Raises asyncpg's errors."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        snapshot = Snapshot(connection, jurisdiction, book)
        for invariant in INVARIANTS:
            started = time.monotonic()
            breaches = await invariant.check(snapshot)
            seconds = time.monotonic() - started
            yield AuditVerdict(invariant.name, invariant.meaning, breaches, "", seconds)
    started = time.monotonic()
    result = await gate.check(*gate_and_ledger) if gate_and_ledger else "no BUTIE_REDIS_URL is set"
    finding, unsaid = (result, "") if isinstance(result, Finding) else (None, result)
    yield AuditVerdict(gate.NAME, gate.MEANING, finding, unsaid, time.monotonic() - started)


async def keep(
    connection: asyncpg.Connection, jurisdiction: str, verdicts: list[AuditVerdict], now: datetime
) -> None:
    """Store the result, which `/metrics` shows. Raises asyncpg's errors."""
    breaches = {
        verdict.name: verdict.finding.breaches
        for verdict in verdicts
        if verdict.finding is not None
    }
    await connection.execute(_KEEP, jurisdiction, now, json.dumps(breaches))
