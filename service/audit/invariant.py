"""An invariant, and what a check of it finds."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import asyncpg

from service.audit.days import JournalDays
from service.audit.sums import FIRST_CLAIM, TableSum
from service.core.policy import PolicyBook

# Enough to see what is wrong; `breaches` has the count.
BREACHES_SHOWN_MAX = 20

# The claims to look at: the new ones, those that were touched, and those with entries in the days
# of the journal that are new or not as they were.
_SCOPE = """
scope AS MATERIALIZED (
    SELECT claim_id FROM claim WHERE claim_id >= $2
    UNION
    SELECT claim_id FROM audit_mark WHERE jurisdiction = $1
    UNION
    SELECT claim_id FROM journal
    WHERE jurisdiction = $1 AND booked_on = ANY ($3) AND claim_id IS NOT NULL
),
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view of the ledger.

    With `since`, an earlier audit has proved the claims before it. Only those that were touched are
    looked at. `lines_before` lines belong to earlier claims, those of other jurisdictions in the
    database among them. `proved` has the sums of that audit, `totals` collects those of the tables
    as they are now; `seed` is theirs.
    """

    connection: asyncpg.Connection
    jurisdiction: str
    book: PolicyBook
    days: JournalDays
    seed: int
    since: UUID | None = None
    lines_before: int = 0
    proved: dict[str, Decimal] = field(default_factory=dict)
    totals: dict[str, Decimal] = field(default_factory=dict)

    def narrowed(self, sql: str) -> tuple[object, ...]:
        """The statement and its arguments. In `sql`, {scope} is the head of its WITH clause, and
        {claim} and {journal} are the rows to look at."""
        if self.since is None:
            return sql.format(scope="", claim="claim", journal="journal"), self.jurisdiction
        statement = sql.format(
            scope=_SCOPE,
            claim="(SELECT claim.* FROM scope JOIN claim USING (claim_id))",
            journal="(SELECT journal.* FROM scope JOIN journal USING (claim_id))",
        )
        return statement, self.jurisdiction, self.since, self.days.again


@dataclass(slots=True)
class Finding:
    """`checked` rows were looked at now, `before` by an earlier audit. `breaches` is the count;
    `shown` names the first BREACHES_SHOWN_MAX."""

    checked: int = 0
    before: int = 0
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


async def name_breaches(connection: asyncpg.Connection, finding: Finding, *query: object) -> None:
    """Add the breaches that the rows of the query name to the finding. They come in a
    stream: there may be millions. Raises asyncpg's errors."""
    async for row in connection.cursor(*query):
        finding.add(row[0])


async def tied(snapshot: Snapshot, table: TableSum, breach_sql: str) -> Finding:
    """Whether the table repeats what the claims say. Only if its sum differs, the rows are paired:
    each row of `breach_sql` ($1 jurisdiction) names one breach. Raises asyncpg's errors."""
    connection, jurisdiction = snapshot.connection, snapshot.jurisdiction
    rows, total = await table.of_table(connection, jurisdiction, snapshot.seed)
    snapshot.totals[table.column] = total
    since = snapshot.since or FIRST_CLAIM
    claims = await table.of_claims(connection, jurisdiction, snapshot.seed, since)
    finding = Finding(checked=rows)
    if total - claims != snapshot.proved.get(table.column, 0):
        await name_breaches(connection, finding, breach_sql, jurisdiction)
    return finding
