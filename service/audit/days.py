"""The days of the journal: what an earlier audit proved of each, and which to look at again.

A day is taken as it was proved if it is closed, its digest is the one that was proved, it has as
many entries, and none of them was changed or deleted.
"""

import json
from dataclasses import dataclass
from datetime import date

import asyncpg

_PROVED_SQL = "SELECT day, digest, entries, pools FROM audit_day WHERE jurisdiction = $1"
_CLOSED_SQL = "SELECT day, digest FROM journal_day WHERE jurisdiction = $1"
# From an index alone.
_ENTRIES_SQL = "SELECT booked_on, count(*) FROM journal WHERE jurisdiction = $1 GROUP BY booked_on"
_TOUCHED_SQL = """
SELECT DISTINCT (former ->> 'booked_on')::date FROM audit_mark
WHERE jurisdiction = $1 AND relation = 'journal' AND claim_id IS NOT NULL
"""
_SUMS_SQL = """
SELECT booked_on, pool, count(*),
    coalesce(sum(amount_fen) FILTER (WHERE kind = 'allocation'), 0)::bigint,
    coalesce(sum(amount_fen) FILTER (WHERE kind <> 'allocation'), 0)::bigint
FROM journal WHERE jurisdiction = $1 AND ($2::date[] IS NULL OR booked_on = ANY ($2))
GROUP BY booked_on, pool
"""
_KEEP_SQL = """
INSERT INTO audit_day (jurisdiction, day, digest, entries, pools)
VALUES ($1, $2, $3, $4, $5::jsonb)
"""


@dataclass(slots=True)
class DaySums:
    """The entries of a day, and each pool's [allocated, confirmed] in fen."""

    entries: int
    pools: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class JournalDays:
    """`again`: the days that were looked at now. `sums`: of every day. `closed`: the digests."""

    again: list[date]
    sums: dict[date, DaySums]
    closed: dict[date, bytes]

    def booked(self) -> dict[str, tuple[int, int]]:
        """What the journal allocated to each pool and took from it, in fen."""
        totals: dict[str, tuple[int, int]] = {}
        for day in self.sums.values():
            for pool, (allocated, confirmed) in day.pools.items():
                before = totals.get(pool, (0, 0))
                totals[pool] = (before[0] + allocated, before[1] + confirmed)
        return totals


async def read_days(
    connection: asyncpg.Connection, jurisdiction: str, *, proved: bool
) -> JournalDays:
    """With `proved`, days are taken as they were proved where they can be. Raises asyncpg's
    errors."""
    closed = {
        row["day"]: row["digest"] for row in await connection.fetch(_CLOSED_SQL, jurisdiction)
    }
    if not proved:
        sums = await _read_sums(connection, jurisdiction, None)
        return JournalDays(sorted(sums), sums, closed)
    entries = dict(await connection.fetch(_ENTRIES_SQL, jurisdiction))
    touched = {row[0] for row in await connection.fetch(_TOUCHED_SQL, jurisdiction)}
    sums = {}
    for day, digest, count, pools in await connection.fetch(_PROVED_SQL, jurisdiction):
        same = closed.get(day) == digest and entries.get(day, 0) == count
        if same and day not in touched:
            sums[day] = DaySums(count, json.loads(pools))
    again = sorted((entries.keys() | touched) - sums.keys())
    return JournalDays(again, sums | await _read_sums(connection, jurisdiction, again), closed)


async def _read_sums(
    connection: asyncpg.Connection, jurisdiction: str, days: list[date] | None
) -> dict[date, DaySums]:
    sums: dict[date, DaySums] = {}
    for day, pool, *counts in await connection.fetch(_SUMS_SQL, jurisdiction, days):
        entries, allocated, confirmed = counts
        of_day = sums.setdefault(day, DaySums(0, {}))
        of_day.entries += entries
        of_day.pools[pool] = [allocated, confirmed]
    return sums


async def keep_days(connection: asyncpg.Connection, jurisdiction: str, days: JournalDays) -> None:
    """Store what was proved of the closed days. Raises asyncpg's errors."""
    await connection.execute("DELETE FROM audit_day WHERE jurisdiction = $1", jurisdiction)
    nothing = DaySums(0, {})
    rows = [
        (jurisdiction, day, digest, sums.entries, json.dumps(sums.pools))
        for day, digest in days.closed.items()
        for sums in [days.sums.get(day, nothing)]
    ]
    await connection.executemany(_KEEP_SQL, rows)
