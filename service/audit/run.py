"""One audit: every invariant in turn; the result is stored for the metrics."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from service.audit import amounts, claims, gate, keys, pools, quotas, serials
from service.audit.invariant import Finding, Snapshot
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

_NO_GATE = "no BUTIE_REDIS_URL is set"
_KEEP = """
INSERT INTO audit_run (jurisdiction, finished_at, breaches)
VALUES ($1, $2, $3::jsonb)
"""


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """The result of one invariant. `finding` is a sentence when it could not be checked. `meaning`
    is what a breach would mean."""

    name: str
    meaning: str
    finding: Finding | str
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
            finding = await invariant.check(snapshot)
            seconds = time.monotonic() - started
            yield AuditVerdict(invariant.name, invariant.meaning, finding, seconds)
    started = time.monotonic()
    compared = await gate.check(*gate_and_ledger) if gate_and_ledger else _NO_GATE
    seconds = time.monotonic() - started
    yield AuditVerdict(gate.INVARIANT_NAME, gate.INVARIANT_MEANING, compared, seconds)


async def keep(
    connection: asyncpg.Connection,
    jurisdiction: str,
    results: list[AuditVerdict],
    now: datetime,
) -> None:
    """Store the counts of breaches, which `/metrics` shows. Raises asyncpg's errors."""
    breaches = {
        result.name: result.finding.breaches
        for result in results
        if isinstance(result.finding, Finding)
    }
    await connection.execute(_KEEP, jurisdiction, now, json.dumps(breaches))
