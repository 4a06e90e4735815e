"""Running sums of the journal by day and by store: a cache for the metrics.

Each pass adds the entries since the last pass, complete by the snapshot rule of `selection.py`. So
a scrape costs the same however long the journal is. One worker at a time adds; the others read the
sums as they are. Exports use them to know their size before the first byte.
"""

import asyncio
from dataclasses import dataclass
from datetime import date

import asyncpg

from service.finance.journal.sales import with_sales
from service.finance.journal.selection import (
    HIGHEST_SQL,
    BookersHang,
    Selection,
    complete_selection,
)

# A pass takes at most some ten milliseconds per thousand entries. A journal without sums is caught
# up in several passes.
ENTRIES_MAX = 50_000
# A booking takes milliseconds. While one hangs, no entries are added.
BOOKERS_S = 0.2

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext($2::text || $1::text))"
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


# A refund's sales are negative, like its amount.
_ADD_SALES = f"""
WITH fresh AS (
    SELECT booked_on, kind, pool, coalesce(category, '') AS category,
        coalesce(store_id, '') AS store_id, sum(sales_fen) AS sales_fen
    FROM {with_sales("journal")}
    WHERE jurisdiction = $1 AND entry_no > $2 AND entry_no <= $3 AND sales_fen IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5
),
days AS (
    INSERT INTO sales_sum_day AS d (jurisdiction, booked_on, kind, pool, category, sales_fen)
    SELECT $1, booked_on, kind, pool, category, sum(sales_fen)
    FROM fresh GROUP BY booked_on, kind, pool, category
    ON CONFLICT (jurisdiction, booked_on, kind, pool, category) DO UPDATE SET
        sales_fen = d.sales_fen + excluded.sales_fen
),
stores AS (
    INSERT INTO sales_sum_store AS s (jurisdiction, store_id, kind, sales_fen)
    SELECT $1, store_id, kind, sum(sales_fen) FROM fresh GROUP BY store_id, kind
    ON CONFLICT (jurisdiction, store_id, kind) DO UPDATE SET
        sales_fen = s.sales_fen + excluded.sales_fen
)
INSERT INTO sales_sum_mark (jurisdiction, until_entry) VALUES ($1, $3)
ON CONFLICT (jurisdiction) DO UPDATE SET until_entry = excluded.until_entry
"""  # noqa: S608
_SALES_MARK = "SELECT until_entry FROM sales_sum_mark WHERE jurisdiction = $1"


@dataclass(frozen=True, slots=True)
class _RunningSums:
    """SQL of sums: `mark` reads up to which entry they are, `add` adds the entries after it."""

    lock_name: str
    mark: str
    add: str


_AMOUNTS = _RunningSums("journal sums ", _MARK, _ADD)
_SALES = _RunningSums("sales sums ", _SALES_MARK, _ADD_SALES)


async def sum_up(connection: asyncpg.Connection, jurisdiction: str) -> int:
    """Add the entries since the last pass. Returns the number of entry numbers that are left.

    Raises asyncpg's errors.
    """
    return await _sum_up(connection, jurisdiction, _AMOUNTS)


async def sum_up_sales(connection: asyncpg.Connection, jurisdiction: str) -> int:
    """The same for the sales. After an upgrade they catch up from the first entry on."""
    return await _sum_up(connection, jurisdiction, _SALES)


async def _sum_up(connection: asyncpg.Connection, jurisdiction: str, sums: _RunningSums) -> int:
    async with connection.transaction():
        ours = await connection.fetchval(_LOCK, jurisdiction, sums.lock_name)
        mark: int = await connection.fetchval(sums.mark, jurisdiction) or 0
        until = await _complete_until(connection, jurisdiction) if ours else None
        if until is not None and until > mark:
            step = min(until, mark + ENTRIES_MAX)
            await connection.execute(sums.add, jurisdiction, mark, step)
            mark = step
    highest: int = await connection.fetchval(HIGHEST_SQL)
    return max(0, highest - mark)


async def summed_up(
    connection: asyncpg.Connection, selection: Selection
) -> tuple[int, tuple[int, int]]:
    """(entry number, (number of entries, their sum in fen)) of the selection, up to that entry
    number. (0, (0, 0)) if the sums do not cover the selection. In the caller's snapshot."""
    mark: int = await connection.fetchval(_MARK, selection.jurisdiction) or 0
    condition = selection.where_of_sums()
    if condition is None or selection.until is None or mark > selection.until:
        return 0, (0, 0)
    where, arguments = condition
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
            return (await complete_selection(connection, everything)).until
    except (TimeoutError, BookersHang):
        return None
