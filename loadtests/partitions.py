"""Measures partitions by month: `python -m loadtests.partitions [--rows 1000000]`.

Compares two tables like `claim` and `journal`, whole and split by month, in an engine of their own:
the pages and bytes of a batch in the present month, the pages of lookups, and the cost of dropping
the oldest month. Pages and bytes do not depend on how busy the machine is; times are shown as well.
"""

import argparse
import asyncio
import json
import tempfile
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table

from service.embedded import engines

BATCH = 64
BATCHES = 200
MONTHS = [date(2025, month, 1) for month in range(1, 8)]

# The first id of a month: claim ids begin with the milliseconds since 1970.
TABLES = """
CREATE FUNCTION first_id(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
        || '70008000000000000000')::uuid
$$;
CREATE FUNCTION some_id(at timestamptz, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
        || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid
$$;
CREATE TABLE whole_claim (claim_id uuid PRIMARY KEY, retailer_id text NOT NULL,
    order_no text NOT NULL, state text NOT NULL, created_at timestamptz NOT NULL,
    digest bytea NOT NULL, price_fen bigint NOT NULL, subsidy_fen bigint NOT NULL);
CREATE INDEX ON whole_claim (retailer_id, claim_id);
CREATE INDEX ON whole_claim (retailer_id, order_no, claim_id);
CREATE TABLE whole_journal (entry_no bigint GENERATED ALWAYS AS IDENTITY, booked_on date NOT NULL,
    claim_id uuid NOT NULL, retailer_id text NOT NULL, amount_fen bigint NOT NULL,
    PRIMARY KEY (booked_on, entry_no));
CREATE INDEX ON whole_journal (claim_id);
CREATE TABLE split_claim (LIKE whole_claim INCLUDING ALL) PARTITION BY RANGE (claim_id);
CREATE TABLE split_journal (LIKE whole_journal INCLUDING ALL) PARTITION BY RANGE (booked_on);
"""
MONTH = """
CREATE TABLE split_claim_{number} PARTITION OF split_claim
    FOR VALUES FROM ('{first_id}') TO ('{next_id}');
CREATE TABLE split_journal_{number} PARTITION OF split_journal
    FOR VALUES FROM ('{first}') TO ('{next}')
"""
CLAIMS = """
INSERT INTO {kind}_claim
SELECT some_id(at, n), 'r' || n % 40, 'o' || n, 'confirmed', at, sha256(n::text::bytea), 599900,
    119980
FROM (SELECT n, {at} AS at FROM generate_series({first}::bigint, {last}::bigint) AS n) AS row
"""
JOURNAL = """
INSERT INTO {kind}_journal (booked_on, claim_id, retailer_id, amount_fen)
SELECT at::date, some_id(at, n), 'r' || n % 40, 119980
FROM (SELECT n, {at} AS at FROM generate_series({first}::bigint, {last}::bigint) AS n) AS row
"""
PAST = "TIMESTAMPTZ '2025-01-01' + n * (INTERVAL '180 days' / {rows})"
TODAY = "TIMESTAMPTZ '2025-06-30 12:00' + n * INTERVAL '1 microsecond'"
SOME = "SELECT claim_id FROM {kind}_claim WHERE retailer_id = 'r7' ORDER BY claim_id LIMIT 1"
LOOKUPS = {
    "a claim by its id": "SELECT * FROM {kind}_claim WHERE claim_id = ({some})",
    "its entries": "SELECT * FROM {kind}_journal WHERE claim_id = ({some})",
    "a claim by its order": "SELECT * FROM {kind}_claim WHERE retailer_id = 'r7' "
    "AND order_no = 'o4007'",
    "a retailer's newest 50": "SELECT * FROM {kind}_claim WHERE retailer_id = 'r7' "
    "ORDER BY claim_id DESC LIMIT 50",
    "one day of the journal": "SELECT sum(amount_fen) FROM {kind}_journal "
    "WHERE booked_on = '2025-03-03'",
}


async def explained(connection: asyncpg.Connection, statement: str) -> dict[str, Any]:
    """Pages touched, bytes logged, and milliseconds to plan and to run."""
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT json) {statement}")
    (explanation,) = json.loads(text)
    plan = explanation["Plan"]
    return {
        "pages": plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        "wal": plan.get("WAL Bytes", 0),
        "ms": explanation["Planning Time"] + explanation["Execution Time"],
    }


async def fill(connection: asyncpg.Connection, rows: int) -> None:
    await connection.execute(TABLES)
    for number, (first, after) in enumerate(pairwise(MONTHS)):
        ids = await connection.fetchrow(
            "SELECT first_id($1::date), first_id($2::date)", first, after
        )
        month = MONTH.format(
            number=number, first=first, next=after, first_id=ids[0], next_id=ids[1]
        )
        await connection.execute(month)
    for kind in ("whole", "split"):
        for insert in (CLAIMS, JOURNAL):
            at = PAST.format(rows=rows)
            await connection.execute(insert.format(kind=kind, at=at, first=0, last=rows - 1))
    await connection.execute("VACUUM ANALYZE")


async def batches(connection: asyncpg.Connection, kind: str, first: int) -> dict[str, float]:
    """The mean cost of a claim in a batch of today."""
    total = {"pages": 0.0, "wal": 0.0, "ms": 0.0}
    await connection.execute("CHECKPOINT")
    for number in range(BATCHES):
        start = first + number * BATCH
        for insert in (CLAIMS, JOURNAL):
            statement = insert.format(kind=kind, at=TODAY, first=start, last=start + BATCH - 1)
            for what, value in (await explained(connection, statement)).items():
                total[what] += value / (BATCH * BATCHES)
    return total


async def retire(connection: asyncpg.Connection) -> dict[str, dict[str, float]]:
    """Remove the oldest month: bytes logged and milliseconds, by kind of table."""
    wal = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
    last = await connection.fetchval("SELECT first_id('2025-02-01'::date)")
    ways = {
        "whole": f"DELETE FROM whole_claim WHERE claim_id < '{last}'; "
        "DELETE FROM whole_journal WHERE booked_on < '2025-02-01'",
        "split": "DROP TABLE split_claim_0; DROP TABLE split_journal_0",
    }
    costs = {}
    loop = asyncio.get_running_loop()
    for kind, statement in ways.items():
        before, began = await connection.fetchval(wal), loop.time()
        await connection.execute(statement)
        ms = (loop.time() - began) * 1000
        costs[kind] = {"pages": 0, "wal": await connection.fetchval(wal) - before, "ms": ms}
    return costs


async def trial(database_url: str, rows: int) -> None:
    connection = await asyncpg.connect(database_url, server_settings={"statement_timeout": "0"})
    await fill(connection, rows)
    table = Table(
        "",
        *(
            f"{kind}: {what}"
            for kind in ("whole", "split")
            for what in ("pages", "bytes logged", "ms")
        ),
    )
    batch = {
        kind: await batches(connection, kind, rows + at * 10_000_000)
        for at, kind in enumerate(("whole", "split"))
    }
    show(table, "a claim of today, in a batch of 64", batch)
    for name, lookup in LOOKUPS.items():
        costs = {}
        for kind in ("whole", "split"):
            statement = lookup.format(kind=kind, some=SOME.format(kind=kind))
            await explained(connection, statement)
            costs[kind] = await explained(connection, statement)
        show(table, name, costs)
    show(table, "the oldest month goes", await retire(connection))
    Console(width=130).print(table)
    await connection.close()


def show(table: Table, name: str, costs: dict[str, dict[str, float]]) -> None:
    table.add_row(
        name,
        *(
            f"{costs[kind][what]:,.{0 if what == 'wal' else 2}f}"
            for kind in ("whole", "split")
            for what in ("pages", "wal", "ms")
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    temporary = tempfile.TemporaryDirectory(prefix="butie-partitions-")
    with temporary as folder, engines(Path(folder)) as urls:
        asyncio.run(trial(urls.database_url, rows))


if __name__ == "__main__":
    main()
