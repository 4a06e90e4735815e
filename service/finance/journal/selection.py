"""Which entries an export or its totals are about, and the snapshot they are taken from.

**The snapshot rule.** `until` is the highest entry number given out when the request came; it
waits until everybody who was booking just then has committed or gone. After that no entry up to
`until` can come any more, so what is read is complete, and a later request goes on with
`after=<last entry_no>`. Nobody who books waits for it.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import asyncpg

EntryKind = Literal["grant", "refund", "allocation"]

# Whoever books is done in milliseconds; one that hangs ends with its statement's timeout.
BOOKERS_WAIT_S = 6
BOOKERS_POLL_S = 0.01

# A sequence that nobody has asked yet says 1.
HIGHEST = "SELECT last_value - (NOT is_called)::int FROM journal_entry_no_seq"
# Every writer holds this lock from before its first entry number until its transaction ends.
BOOKERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'journal'::regclass AND mode = 'RowExclusiveLock' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


# From day to day by the index, whose days are few beside its entries.
SPAN = """
WITH RECURSIVE found AS (
    (SELECT booked_on AS day FROM journal
     WHERE jurisdiction = $1 AND booked_on BETWEEN $2 AND $3 ORDER BY booked_on LIMIT 1)
    UNION ALL
    SELECT (SELECT booked_on FROM journal WHERE jurisdiction = $1
        AND booked_on > found.day AND booked_on <= $3 ORDER BY booked_on LIMIT 1)
    FROM found WHERE found.day IS NOT NULL
)
SELECT
    min((SELECT entry_no FROM journal WHERE jurisdiction = $1 AND booked_on = found.day
        ORDER BY entry_no LIMIT 1)),
    max((SELECT entry_no FROM journal WHERE jurisdiction = $1 AND booked_on = found.day
        ORDER BY entry_no DESC LIMIT 1))
FROM found WHERE found.day IS NOT NULL
"""


class BookersHang(Exception):
    """Somebody has been booking for longer than any booking takes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Entries booked from `from_on` to `to_on`, both inclusive, that fit every given filter.

    Entry numbers are above `after` and up to `until`; `until` None means up to now. All entries
    of these days lie within `span`, if it is known.
    """

    jurisdiction: str
    from_on: date
    to_on: date
    retailer: str | None = None
    store: str | None = None
    pool: str | None = None
    category: str | None = None
    kind: str | None = None
    policy: str | None = None
    after: int = 0
    until: int | None = None
    span: tuple[int, int] | None = None

    def where(self) -> tuple[str, list[object]]:
        """The condition, and its arguments from $1 on."""
        assert self.until is not None, "Bug! Take the snapshot first."
        first, last = self.span or (0, self.until)
        return self._where(
            ("entry_no > {}", max(self.after, first - 1)),
            ("entry_no <= {}", min(self.until, last)),
        )

    def where_of_sums(self) -> tuple[str, list[object]] | None:
        """The same of `journal_sum_day`, whatever the entry numbers; None where its sums are too
        coarse."""
        if self.retailer or self.store or self.policy or self.after:
            return None
        return self._where()

    def _where(self, *numbers: tuple[str, object]) -> tuple[str, list[object]]:
        wanted: list[tuple[str, object]] = [
            ("jurisdiction = {}", self.jurisdiction),
            ("booked_on >= {}", self.from_on),
            ("booked_on <= {}", self.to_on),
            *numbers,
        ]
        filters = {
            "retailer_id": self.retailer,
            "store_id": self.store,
            "pool": self.pool,
            "category": self.category,
            "kind": self.kind,
            "policy": self.policy,
        }
        wanted += [(f"{name} = {{}}", value) for name, value in filters.items() if value]
        parts = (part.format(f"${at}") for at, (part, _) in enumerate(wanted, start=1))
        return " AND ".join(parts), [value for _, value in wanted]


async def complete(connection: asyncpg.Connection, wanted: Selection) -> Selection:
    """The selection with its `until`: nothing up to it can come any more. Raises BookersHang."""
    highest = await connection.fetchval(HIGHEST)
    booking = {row[0] for row in await connection.fetch(BOOKERS)}
    try:
        async with asyncio.timeout(BOOKERS_WAIT_S):
            while booking:
                await asyncio.sleep(BOOKERS_POLL_S)
                booking &= {row[0] for row in await connection.fetch(BOOKERS)}
    except TimeoutError:
        raise BookersHang from None
    return replace(wanted, until=highest if wanted.until is None else min(highest, wanted.until))


async def spanned(connection: asyncpg.Connection, selection: Selection) -> Selection:
    """The selection with its `span`, so that a day's entries are not looked for in the whole
    journal. In the caller's snapshot."""
    days = selection.from_on, selection.to_on
    first, last = await connection.fetchrow(SPAN, selection.jurisdiction, *days)
    return replace(selection, span=(1, 0) if first is None else (first, last))
