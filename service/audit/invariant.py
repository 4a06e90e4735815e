"""An invariant, and what a check of it finds."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import asyncpg

from service.core.policy import PolicyBook

# Enough to see what is wrong; `breaches` has the count.
BREACHES_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view of the ledger."""

    connection: asyncpg.Connection
    jurisdiction: str
    book: PolicyBook


@dataclass(slots=True)
class Finding:
    """`breaches` is the count; `shown` names the first BREACHES_SHOWN_MAX."""

    checked: int = 0
    breaches: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, breach: str) -> None:
        self.breaches += 1
        if len(self.shown) < BREACHES_SHOWN_MAX:
            self.shown.append(breach)


@dataclass(frozen=True, slots=True)
class Invariant:
    """`meaning` is what a breach of it would mean."""

    name: str
    meaning: str
    check: Callable[[Snapshot], Awaitable[Finding]]


async def find(snapshot: Snapshot, count_sql: str, breach_sql: str) -> Finding:
    """`count_sql` counts the rows that are checked; each row of `breach_sql` names one breach. Both
    take the jurisdiction as $1. Raises asyncpg's errors."""
    finding = Finding(checked=await snapshot.connection.fetchval(count_sql, snapshot.jurisdiction))
    async for row in snapshot.connection.cursor(breach_sql, snapshot.jurisdiction):
        finding.add(row[0])
    return finding
