"""The burn of the pools: money confirmed less money refunded, by day and within today.

Closed days come from table `pool_day`, which `fill_days` computes from the journal once for each
day. Today's burn is the pool's confirmed sum minus the sum at the end of the last closed day. Its
line comes from table `pool_reading`: the confirmed sum every five minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from service.core.calendar import SHANGHAI, business_day, start_of_day
from service.core.forecast import HISTORY_DAYS, BurnDay

# Interval of the readings: a point on the line of today.
READING_EVERY = timedelta(minutes=5)
# Only the readings of today are used. Those of yesterday help to explain a fault.
READINGS_KEPT = timedelta(days=2)
# Yesterday closes within this time. Until then the first reading of today separates the two days.
DAY_CLOSES_WITHIN = timedelta(minutes=30)
# The count of the claims of the last minute stops here: a screen needs no exact larger number.
COUNTED_CLAIMS_MAX = 20_000
# Days for one statement. It takes some seconds when each day has a million entries.
FILL_DAYS_MAX = 7

MINUTE = timedelta(minutes=1)

_HERE = Path(__file__).parent
_READ_SQL = (_HERE / "read_burn.sql").read_text()
_FILL_SQL = (_HERE / "fill_pool_days.sql").read_text()
_TAKE_SQL = """
INSERT INTO pool_reading (jurisdiction, at, pool, confirmed_fen)
SELECT $1, $2, pool, confirmed_fen FROM pool_total WHERE jurisdiction = $1
ON CONFLICT DO NOTHING
"""
_FORGET_SQL = "DELETE FROM pool_reading WHERE jurisdiction = $1 AND at < $2"


@dataclass(frozen=True, slots=True)
class Burnt:
    """The burn of today until `at`, in fen."""

    at: datetime
    fen: int


@dataclass(frozen=True, slots=True)
class Planned:
    """A tranche that has not opened yet."""

    opens_at: datetime
    amount_fen: int


@dataclass(frozen=True, slots=True)
class PoolBurn:
    """A pool and its burn. Amounts in fen. `days` are the closed days, oldest first. `line` is
    the burn since midnight, with a point every five minutes and one for now."""

    pool: str
    allocated_fen: int
    confirmed_fen: int
    reserved_fen: int
    remaining_fen: int
    version: int
    days: Sequence[BurnDay]
    today_fen: int
    line: Sequence[Burnt]
    planned: Sequence[Planned]


@dataclass(frozen=True, slots=True)
class BurnReading:
    """All pools in one snapshot. `unfilled`: `pool_day` lacks closed days; call `fill_days`."""

    at: datetime
    pools: Sequence[PoolBurn]
    claims_per_minute: int
    unfilled: bool


async def read_burn(
    connection: asyncpg.Connection, jurisdiction: str, now: datetime
) -> BurnReading:
    """Read every pool and its burn. Raises asyncpg's errors."""
    today = business_day(now)
    since = today - timedelta(days=HISTORY_DAYS + 1)
    rows = await connection.fetch(
        _READ_SQL,
        jurisdiction,
        since,
        start_of_day(today),
        _least_id(now - MINUTE),
        COUNTED_CLAIMS_MAX,
    )
    pools = [_pool(row, since, today, now) for row in rows]
    filled_days = [row["days"][-1] for row in rows if row["days"]]
    closed_on = rows[0]["closed_on"] if rows else None
    unfilled = closed_on is not None and (not filled_days or max(filled_days) < closed_on)
    claims = rows[0]["claims"] if rows else 0
    return BurnReading(now, pools, claims, unfilled)


async def fill_days(connection: asyncpg.Connection, jurisdiction: str) -> int:
    """Add at most FILL_DAYS_MAX closed days to `pool_day`. Returns the number of days left."""
    return int(await connection.fetchval(_FILL_SQL, jurisdiction, FILL_DAYS_MAX))


def reading_due(now: datetime) -> datetime:
    """The instant of the reading that is due at `now`: the start of the current five minutes."""
    since = (now - start_of_day(business_day(now))) % READING_EVERY
    return now - since


async def take_reading(connection: asyncpg.Connection, jurisdiction: str, at: datetime) -> None:
    """Store the confirmed sums as the reading of the instant `at`, unless a worker has done so."""
    await connection.execute(_TAKE_SQL, jurisdiction, at)
    await connection.execute(_FORGET_SQL, jurisdiction, at - READINGS_KEPT)


def _least_id(at: datetime) -> UUID:
    """The least UUIDv7 of an instant. A claim id begins with the Unix time in milliseconds."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


def _pool(row: asyncpg.Record, since: date, today: date, now: datetime) -> PoolBurn:
    midnight_fen = _midnight_fen(row, today)
    today_fen = row["confirmed_fen"] - midnight_fen
    line = [
        Burnt(at.astimezone(SHANGHAI), fen - midnight_fen)
        for at, fen in zip(row["read_at"], row["read_fen"] or (), strict=True)
    ]
    return PoolBurn(
        pool=row["pool"],
        allocated_fen=row["allocated_fen"],
        confirmed_fen=row["confirmed_fen"],
        reserved_fen=row["reserved_fen"],
        remaining_fen=row["allocated_fen"] - row["spent_fen"],
        version=row["version"],
        days=_days(row, since),
        today_fen=today_fen,
        line=[*line, Burnt(now.astimezone(SHANGHAI), today_fen)],
        planned=[
            Planned(at.astimezone(SHANGHAI), fen)
            for at, fen in zip(row["opens_at"], row["opens_fen"] or (), strict=True)
        ],
    )


def _midnight_fen(row: asyncpg.Record, today: date) -> int:
    """The confirmed sum at the start of today."""
    last_day = row["days"][-1] if row["days"] else None
    closed_fen = int(row["day_confirmed_fen"][-1]) if last_day else 0
    if last_day == today - timedelta(days=1) or not row["read_at"]:
        return closed_fen
    is_early = row["read_at"][0] < start_of_day(today) + DAY_CLOSES_WITHIN
    return int(row["read_fen"][0]) if is_early else closed_fen


def _days(row: asyncpg.Record, since: date) -> list[BurnDay]:
    days = []
    before_fen = 0
    sums = zip(
        row["days"], row["day_allocated_fen"] or (), row["day_confirmed_fen"] or (), strict=True
    )
    for day, allocated_fen, confirmed_fen in sums:
        if day > since:  # the day before only gives the first one its start
            days.append(BurnDay(day, confirmed_fen - before_fen, allocated_fen - confirmed_fen))
        before_fen = confirmed_fen
    return days
