"""What an invariant is to the audit, and what it finds."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import asyncpg

from service.core.policy import PolicyBook

# Enough to see what is wrong; the count says how much.
SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view of the ledger."""

    connection: asyncpg.Connection
    jurisdiction: str
    book: PolicyBook


@dataclass(slots=True)
class Finding:
    """`breaches` says how many there are, `shown` names the first few."""

    checked: int = 0
    breaches: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, what: str) -> None:
        self.breaches += 1
        if len(self.shown) < SHOWN_MAX:
            self.shown.append(what)


@dataclass(frozen=True, slots=True)
class Invariant:
    """`meaning` is what a breach of it would mean."""

    name: str
    meaning: str
    check: Callable[[Snapshot], Awaitable[Finding]]


async def find(snapshot: Snapshot, count_sql: str, breach_sql: str) -> Finding:
    """`count_sql` counts what is looked at; each row of `breach_sql` names one breach. Both take
    the jurisdiction as $1."""
    finding = Finding(checked=await snapshot.connection.fetchval(count_sql, snapshot.jurisdiction))
    async for row in snapshot.connection.cursor(breach_sql, snapshot.jurisdiction):
        finding.add(row[0])
    return finding
