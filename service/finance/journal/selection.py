"""Selects the entries of an export or its totals, and makes the selection complete.

**The snapshot rule.** Entry numbers come from a sequence: a lower number can be committed after a
higher one. `complete_selection` reads the highest number that the sequence has given out, `until`.
Then it waits until every transaction that was booking at that moment has ended. From then on no
entry up to `until` can appear. So a snapshot taken afterwards has all of them, and a later request
can continue with `after=<last entry_no>`. Bookings never wait for an export.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import asyncpg

EntryKind = Literal["grant", "refund", "allocation"]
ENTRY_NO_MAX = 2**63 - 1  # a bigint's largest

# A booking takes milliseconds. One that hangs ends by its statement timeout.
BOOKERS_WAIT_S = 6
BOOKERS_POLL_S = 0.01

# An unused sequence has last_value 1.
HIGHEST_SQL = "SELECT last_value - (NOT is_called)::int FROM journal_entry_no_seq"
# A transaction holds this lock from before its first entry number until it ends.
_BOOKERS_SQL = """
    SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'journal'::regclass AND mode = 'RowExclusiveLock' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


# Steps from day to day in the index: there are few days and many entries.
_SPAN_SQL = """
WITH RECURSIVE booked AS (
    (SELECT booked_on AS day FROM journal
     WHERE jurisdiction = $1 AND booked_on BETWEEN $2 AND $3 ORDER BY booked_on LIMIT 1)
    UNION ALL
    SELECT (SELECT booked_on FROM journal WHERE jurisdiction = $1
        AND booked_on > booked.day AND booked_on <= $3 ORDER BY booked_on LIMIT 1)
    FROM booked WHERE booked.day IS NOT NULL
)
SELECT
    min((SELECT entry_no FROM journal WHERE jurisdiction = $1 AND booked_on = booked.day
        ORDER BY entry_no LIMIT 1)),
    max((SELECT entry_no FROM journal WHERE jurisdiction = $1 AND booked_on = booked.day
        ORDER BY entry_no DESC LIMIT 1))
FROM booked WHERE booked.day IS NOT NULL
"""


class BookersHang(Exception):
    """A booking transaction takes longer than BOOKERS_WAIT_S."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The entries booked from `from_on` to `to_on`, both inclusive, that match every filter.

    Their numbers are above `after` and at most `until`. `until` None: up to now. `span`, if known,
    is the lowest and the highest entry number of these days.
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
        """The condition on table journal, and its arguments from $1 on."""
        assert self.until is not None, "Bug! Take the snapshot first."
        first, last = self.span or (0, self.until)
        return self._where(
            ("entry_no > {}", max(self.after, first - 1)),
            ("entry_no <= {}", min(self.until, last)),
        )

    def where_of_sums(self) -> tuple[str, list[object]] | None:
        """The condition on table `journal_sum_day`, without entry numbers. None: its sums do not
        distinguish what the selection filters by."""
        if self.retailer or self.store or self.policy or self.after:
            return None
        return self._where()

    def _where(self, *numbers: tuple[str, object]) -> tuple[str, list[object]]:
        terms: list[tuple[str, object]] = [
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
        terms += [(f"{name} = {{}}", value) for name, value in filters.items() if value]
        conditions = (term.format(f"${at}") for at, (term, _) in enumerate(terms, start=1))
        return " AND ".join(conditions), [value for _, value in terms]


async def complete_selection(connection: asyncpg.Connection, selection: Selection) -> Selection:
    """The selection with an `until` up to which no more entries can appear. Raises BookersHang."""
    highest = await connection.fetchval(HIGHEST_SQL)
    booking = {row[0] for row in await connection.fetch(_BOOKERS_SQL)}
    try:
        async with asyncio.timeout(BOOKERS_WAIT_S):
            while booking:
                await asyncio.sleep(BOOKERS_POLL_S)
                booking &= {row[0] for row in await connection.fetch(_BOOKERS_SQL)}
    except TimeoutError:
        raise BookersHang from None
    until = highest if selection.until is None else min(highest, selection.until)
    return replace(selection, until=until)


async def with_span(connection: asyncpg.Connection, selection: Selection) -> Selection:
    """The selection with its `span`, in the caller's snapshot. It lets PostgreSQL read a range of
    the primary key instead of the whole journal."""
    days = selection.from_on, selection.to_on
    first, last = await connection.fetchrow(_SPAN_SQL, selection.jurisdiction, *days)
    return replace(selection, span=(1, 0) if first is None else (first, last))
