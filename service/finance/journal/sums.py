"""Running sums of the journal, by day and by store, for dashboards.

A cache of the journal and nothing else. Each pass adds the entries that came since the last one,
by the exports' snapshot rule, so that a look at the figures costs the same however long the
journal is. Whoever is asked first for the figures adds; the others read what is there: exports
too, which tell their size before they begin.
"""

import asyncio
from datetime import date

import asyncpg

from service.finance.journal.selection import HIGHEST, BookersHang, Selection, complete

# A pass takes some ten milliseconds a thousand entries at the worst; a journal that was never
# summed is caught up with over several passes.
ENTRIES_MAX = 50_000
# Bookings end in milliseconds. While one hangs the sums wait.
BOOKERS_S = 0.2

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('journal sums ' || $1::text))"
_MARK = "SELECT until_entry FROM journal_sum_mark WHERE jurisdiction = $1"
_ADD = """
WITH fresh AS (
    SELECT booked_on, kind, pool, coalesce(category, '') AS category,
        coalesce(store_id, '') AS store_id, count(*) AS entries, sum(amount_fen) AS amount_fen
    FROM journal WHERE jurisdiction = $1 AND entry_no > $2 AND entry_no <= $3
    GROUP BY 1, 2, 3, 4, 5
),
days AS (
    INSERT INTO journal_sum_day AS d
        (jurisdiction, booked_on, kind, pool, category, entries, amount_fen)
    SELECT $1, booked_on, kind, pool, category, sum(entries), sum(amount_fen)
    FROM fresh GROUP BY booked_on, kind, pool, category
    ON CONFLICT (jurisdiction, booked_on, kind, pool, category) DO UPDATE SET
        entries = d.entries + excluded.entries, amount_fen = d.amount_fen + excluded.amount_fen
),
stores AS (
    INSERT INTO journal_sum_store AS s
        (jurisdiction, store_id, kind, pool, entries, amount_fen)
    SELECT $1, store_id, kind, pool, sum(entries), sum(amount_fen)
    FROM fresh WHERE store_id <> '' GROUP BY store_id, kind, pool
    ON CONFLICT (jurisdiction, store_id, kind, pool) DO UPDATE SET
        entries = s.entries + excluded.entries, amount_fen = s.amount_fen + excluded.amount_fen
)
INSERT INTO journal_sum_mark (jurisdiction, until_entry) VALUES ($1, $3)
ON CONFLICT (jurisdiction) DO UPDATE SET until_entry = excluded.until_entry
"""


async def sum_up(connection: asyncpg.Connection, jurisdiction: str) -> int:
    """Add what came since the last pass; returns how many entry numbers are left to look at.

    Raises asyncpg's errors.
    """
    async with connection.transaction():
        ours = await connection.fetchval(_LOCK, jurisdiction)
        mark: int = await connection.fetchval(_MARK, jurisdiction) or 0
        until = await _complete_until(connection, jurisdiction) if ours else None
        if until is not None and until > mark:
            step = min(until, mark + ENTRIES_MAX)
            await connection.execute(_ADD, jurisdiction, mark, step)
            mark = step
    highest: int = await connection.fetchval(HIGHEST)
    return max(0, highest - mark)


async def summed_up(
    connection: asyncpg.Connection, selection: Selection
) -> tuple[int, tuple[int, int]]:
    """(the entry number up to which the sums know of the selection, (its entries, their sum in
    fen) up to there); (0, (0, 0)) where they can't tell. In the caller's snapshot."""
    mark: int = await connection.fetchval(_MARK, selection.jurisdiction) or 0
    wanted = selection.where_of_sums()
    if wanted is None or selection.until is None or mark > selection.until:
        return 0, (0, 0)
    where, arguments = wanted
    row = await connection.fetchrow(
        "SELECT coalesce(sum(entries), 0)::bigint, coalesce(sum(amount_fen), 0)::bigint"  # noqa: S608
        f" FROM journal_sum_day WHERE {where}",
        *arguments,
    )
    return mark, (row[0], row[1])


async def _complete_until(connection: asyncpg.Connection, jurisdiction: str) -> int | None:
    try:
        async with asyncio.timeout(BOOKERS_S):
            everything = Selection(jurisdiction, date.min, date.max)
            return (await complete(connection, everything)).until
    except (TimeoutError, BookersHang):
        return None
