"""Books four weeks of burn in a running sandbox, so that it has a forecast."""

import asyncio
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import asyncpg

from service.embedded.postgres import running_url

TODAY = date(2025, 6, 18)
DAYS = 28
# A day's burn in fen, and each weekday's per cent of it, Monday first.
LEVELS = {"appliances": 40_000_000, "cars": 30_000_000, "digital": 13_000_000, "home": 2_300_000}
WEEK = (75, 75, 80, 90, 100, 150, 130)

BOOK = """
WITH day AS (
    SELECT booking_day('330402', wanted) FROM (SELECT DISTINCT unnest($1::date[]) AS wanted) AS w
),
entry AS (
    INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen, claim_id,
        line_no, policy)
    SELECT '330402', 'grant', e.day, e.day, pool, fen, gen_random_uuid(), 1, 'nanhu-2025'
    FROM unnest($1::date[], $2::text[], $3::bigint[]) AS e (day, pool, fen)
    WHERE (SELECT count(*) FROM day) > 0
    RETURNING pool, amount_fen
)
UPDATE pool SET confirmed_fen = confirmed_fen + burnt.fen, version = version + 1
FROM (SELECT pool, sum(amount_fen) AS fen FROM entry GROUP BY pool) AS burnt
WHERE pool.pool = burnt.pool
"""


def past_burn() -> Iterator[tuple[date, str, int]]:
    """(day, pool, fen); the same every time, with some noise."""
    for pool, level_fen in LEVELS.items():
        for before in range(DAYS, 0, -1):
            day = TODAY - timedelta(days=before)
            noise = 90 + (before * 7 + len(pool) * 5) % 21
            yield day, pool, level_fen * WEEK[day.weekday()] * noise // 10_000


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    days, pools, fens = zip(*past_burn(), strict=True)
    await connection.execute(BOOK, days, pools, fens)
    await connection.execute("DELETE FROM pool_reading")  # readings from before this burn
    await connection.close()


def fill(data_dir: Path) -> None:
    url = running_url(data_dir)
    assert url is not None
    asyncio.run(_fill(url))
