"""Fills a ledger with claims of past months: `python -m loadtests.seed --claims 10000000`.

All tables that a claim writes are filled as a claim fills them, so `butie audit` and `butie journal
verify` find no fault. The remaining budgets stay as they were. The server makes the rows, a step of
claims at a time, and builds the indexes at the end: ten million claims take minutes and 15 GB of
disk. Only for scratch ledgers: a ledger with claims is refused.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import asyncpg

from loadtests.bench import servers
from loadtests.seed_rows import (
    ALLOCATE,
    DROP_MENU,
    LANES,
    MAKE_MENU,
    RETAILERS,
    STORES_EACH,
    Span,
    menu,
)
from service import sandbox
from service.core.calendar import business_day
from service.db.acts import ActContext
from service.db.engine import connect, make_engine
from service.embedded import engines
from service.finance.journal.closing import CLOSE, SEAL, record_funding
from service.policies import read_book
from service.pools.budgets import open_pool
from service.retailers.enrol import NewStore, add_retailer, add_stores
from tests.builders import uscc

JURISDICTION = "330402"
# The first day on which all goods were subsidised. The sandbox's clock starts in June.
FIRST_DAY = date(2025, 1, 20)
CLAIMS_AT_A_TIME = 500_000
SETTINGS = {
    "application_name": "butie seed",
    "statement_timeout": "0",
    "synchronous_commit": "off",
    "maintenance_work_mem": "1GB",
    "jit": "off",
}
USED = """
SELECT EXISTS (SELECT FROM claim) OR EXISTS (SELECT FROM journal WHERE booked_on < $1)
"""
INDEXES = """
SELECT c.relname AS index, t.relname AS table, k.conname AS constraint,
    pg_get_constraintdef(k.oid) AS constraint_def, pg_get_indexdef(i.indexrelid) AS index_def
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_class AS t ON t.oid = i.indrelid
LEFT JOIN pg_constraint AS k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u')
WHERE t.relnamespace = 'public'::regnamespace AND t.relname = ANY ($1::text[])
"""


async def seed(
    database_url: str,
    claims: int,
    now: datetime,
    *,
    first: date = FIRST_DAY,
    close: bool = True,
) -> None:
    """Fill an empty ledger with claims from the day `first` to the day before `now`. With `close`
    those days are closed.

    Raises SystemExit when there are claims already, or when no one policy covers all the days.
    """
    book = read_book(JURISDICTION)
    last = business_day(now) - timedelta(days=1)
    policy = book.on(first)
    if policy is None or first > last or not policy.covers(last):
        raise SystemExit(f"From {first} to {last} is not a span of days under one policy.")
    span = Span(JURISDICTION, policy.id, claims, first, last)
    async with _connection(database_url) as connection:
        if await connection.fetchval(USED, first):
            raise SystemExit("This ledger has claims already, or older entries: seed an empty one.")
        await enrol(database_url, span, policy.schemes)
        await connection.execute(MAKE_MENU)
        await connection.copy_records_to_table("seed_menu", records=menu(book, span.opens_at))
        await connection.execute("ANALYZE seed_menu")
        async with _without_guard(connection):
            await asyncio.gather(*(_fill(database_url, lane, span) for lane in LANES))
            await connection.execute(ALLOCATE, JURISDICTION, first, span.opens_at)
        await connection.execute(DROP_MENU)
        if close:
            await record_funding(connection, book)
            await _close(connection, database_url, span, now)
        await connection.execute("CHECKPOINT")
    _say("done")


async def enrol(database_url: str, span: Span, pools: Iterable[str]) -> None:
    """Enrol the retailers and stores of the claims, and open the pools that do not exist."""
    engine = make_engine(database_url)
    async with connect(engine, within_s=60) as connection:
        for pool in pools:
            await open_pool(connection, span.jurisdiction, pool)
        context = ActContext(connection, span.jurisdiction, "seed", span.opens_at)
        for number in range(RETAILERS):
            name, code = f"seed{number:02d}", uscc(1_000 + number)
            await add_retailer(context, retailer_id=name, uscc_number=code, name=f"零售 {number}")
            stores = [
                NewStore(f"S{number:02d}{at:02d}", f"门店 {at}", None) for at in range(STORES_EACH)
            ]
            await add_stores(context, name, stores)
    await engine.dispose()


async def _fill(database_url: str, lane: Mapping[str, Sequence[str]], span: Span) -> None:
    """Fill the lane's tables one after another."""
    async with _connection(database_url) as connection:
        for table, statements in lane.items():
            began = time.monotonic()
            indexes = await _drop_indexes(connection, table)
            for start in range(1, span.claims + 1, CLAIMS_AT_A_TIME):
                stop = min(start + CLAIMS_AT_A_TIME - 1, span.claims)
                for statement in statements:
                    await connection.execute(span.fill_in(statement), start, stop)
            filled = time.monotonic()
            for index in indexes:
                await connection.execute(index)
            indexed = time.monotonic()
            await connection.execute(f"VACUUM (ANALYZE) {table}")
            _say(
                f"{table}: rows {filled - began:.0f} s, indexes {indexed - filled:.0f} s, "
                f"vacuum {time.monotonic() - indexed:.0f} s"
            )


async def _close(
    connection: asyncpg.Connection, database_url: str, span: Span, now: datetime
) -> None:
    """Close the days as the service does, but seal two at a time."""
    began = time.monotonic()
    days = [span.first + timedelta(days=n) for n in range((span.last - span.first).days + 1)]
    indexes = await _drop_indexes(connection, "journal_seal")
    await asyncio.gather(*(_seal(database_url, days[lane::2]) for lane in (0, 1)))
    for index in indexes:
        await connection.execute(index)
    await connection.execute("VACUUM (ANALYZE) journal_seal")
    for day in days:
        await connection.execute(CLOSE, JURISDICTION, day, now)
    _say(f"{len(days)} days closed: {time.monotonic() - began:.0f} s")


async def _seal(database_url: str, days: Sequence[date]) -> None:
    async with _connection(database_url) as connection:
        for day in days:
            await connection.execute(SEAL, JURISDICTION, day)


async def _drop_indexes(connection: asyncpg.Connection, table: str) -> list[str]:
    """Drop the table's indexes; returns the statements that make them again."""
    again = []
    for index in await connection.fetch(INDEXES, [table]):
        if index["constraint"]:
            await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {index['constraint']}")
            again.append(
                f"ALTER TABLE {table} ADD CONSTRAINT {index['constraint']} "
                f"{index['constraint_def']}"
            )
        else:
            await connection.execute(f"DROP INDEX {index['index']}")
            again.append(index["index_def"])
    return again


@asynccontextmanager
async def _without_guard(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Disable the trigger that refuses entries in closed days. It copies each statement's entries,
    and no day is closed yet."""
    await connection.execute("ALTER TABLE journal DISABLE TRIGGER journal_open_days_only")
    yield
    await connection.execute("ALTER TABLE journal ENABLE TRIGGER journal_open_days_only")


@asynccontextmanager
async def _connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, server_settings=SETTINGS)
    try:
        yield connection
    finally:
        await connection.close()


def _say(what: str) -> None:
    print(f"seed: {what}", flush=True)


def seed_sandbox(folder: Path, claims: int, *, close: bool = True) -> None:
    """Make a sandbox on `folder`, if there is none, and seed it. None may be running on it."""
    with servers.sandbox(folder):
        pass  # it gets its tables, money and keys
    clock = sandbox.read_clock(folder)
    assert clock is not None, "Bug! A sandbox keeps its clock."
    with engines(folder) as urls:
        asyncio.run(seed(urls.database_url, claims, clock.started_at, close=close))


def main() -> None:
    parser = argparse.ArgumentParser(description="Fill a ledger with claims of past months.")
    parser.add_argument("--claims", type=int, default=1_000_000)
    parser.add_argument(
        "--data-dir", type=Path, default=Path(".butie"), help="data folder of a sandbox"
    )
    parser.add_argument("--database-url", help="a migrated ledger with pools, instead of a sandbox")
    parser.add_argument("--leave-open", action="store_true", help="do not close the days")
    options = parser.parse_args()
    began = time.monotonic()
    if options.database_url:
        now = sandbox.STARTS_AT
        asyncio.run(seed(options.database_url, options.claims, now, close=not options.leave_open))
    else:
        seed_sandbox(options.data_dir, options.claims, close=not options.leave_open)
    print(f"{options.claims:,} claims in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
