"""The function that commits a batch grants, refuses and writes what one statement did, and its
locks cannot deadlock."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import service.claims.ledger.commit
from service.claims.claim import PendingClaim
from service.claims.ledger import commit as commits
from service.claims.ledger.commit import Commit, Committed, KeyTaken, Unfit
from tests.claims.committing import (
    PLACE,
    ClaimPlan,
    LinePlan,
    commit_by_one_statement,
    planned_claim,
)

pytestmark = pytest.mark.anyio

# A released function never changes, because the former release calls it during an upgrade. Write
# `commit_claims_2` in a file of its own, with a migration.
RELEASED = "7c668d5072cfbefff69544cb2304681afdbbf235f6f8d2ee376a9bb728190347"
FILE = Path(service.claims.ledger.commit.__file__).parent / "commit_claims.sql"

POOLS = ("appliances", "digital")
TABLES = {
    "idempotency_key": "*",
    "serial_claimed": "*",
    "quota_use": "*",
    "claim": "*",
    "claim_line": "*",
    # The numbers of entries have no order within a batch, and gaps.
    "journal": "kind, booked_on, booked_at, pool, amount_fen, retailer_id, store_id, claim_id,"
    " line_no, category, policy",
    "pool": "*",
    "pool_part": "*",
}
LARGE = ("idempotency_key", "serial_claimed", "quota_use", "claim", "claim_line", "journal")

CommitWay = Callable[..., Awaitable[Any]]


def test_a_released_function_stays_as_it_is() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == RELEASED


async def test_the_ledger_has_the_function_of_the_file(database_url: str) -> None:
    async with connected(database_url) as connection:
        body = await connection.fetchval(
            "SELECT prosrc FROM pg_proc WHERE proname = 'commit_claims'"
        )
    assert body in FILE.read_text()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
    try:
        yield connection
    finally:
        await connection.close()


async def commit(
    connection: asyncpg.Connection, claims: Sequence[PendingClaim], *, bypassed: bool = False
) -> Commit:
    """The batch as the ledger commits it."""
    batch = Commit(PLACE, bypassed)
    await batch.run(connection, claims)
    return batch


async def leave(connection: asyncpg.Connection, pool: str, own: int, slices: Sequence[int]) -> None:
    """Leave the pool so much money in its own row and in each of its slices, in fen."""
    await connection.execute(
        "INSERT INTO pool_part (jurisdiction, pool, part, escrow_fen)"
        " SELECT $1, $2, n, $3[n] FROM generate_series(1, cardinality($3::bigint[])) AS n"
        " ON CONFLICT (jurisdiction, pool, part)"
        " DO UPDATE SET escrow_fen = pool_part.spent_fen + excluded.escrow_fen",
        PLACE,
        pool,
        slices,
    )
    await connection.execute(
        "UPDATE pool SET escrow_fen = aside.fen, allocated_fen = spent_fen + aside.fen + $3"
        " FROM (SELECT coalesce(sum(escrow_fen), 0) AS fen FROM pool_part"
        "       WHERE jurisdiction = $1 AND pool = $2) AS aside"
        " WHERE jurisdiction = $1 AND pool = $2",
        PLACE,
        pool,
        own,
    )


# --- the same as one statement ----------------------------------------------------------

line_plans = st.builds(
    LinePlan,
    pool=st.sampled_from((*POOLS, *POOLS, *POOLS, "unknown")),
    fen=st.integers(1, 4).map(lambda n: 100 * n),
    serials=st.lists(st.integers(0, 30), max_size=2, unique=True).map(tuple),
    persons=st.lists(st.integers(0, 12), max_size=2, unique=True).map(tuple),
    limit=st.integers(1, 3),
)
claim_plans = st.builds(
    ClaimPlan,
    key=st.integers(0, 15).map(str),
    lines=st.lists(line_plans, min_size=1, max_size=3).map(tuple),
    held=st.booleans(),
    days_ago=st.sampled_from((0, 0, 1, 2)),
)
batches = st.tuples(
    st.lists(claim_plans, min_size=2, max_size=8),
    st.sets(st.integers(0, 7), max_size=2),  # claims that are fenced before the commit
    st.booleans(),  # bypassed
)
purses = st.tuples(st.integers(0, 30), st.lists(st.integers(0, 8), max_size=3))
FENCE = """
INSERT INTO idempotency_key AS k (jurisdiction, retailer_id, idempotency_key, fenced)
VALUES ($1, $2, $3, ARRAY[$4::uuid])
ON CONFLICT (jurisdiction, retailer_id, idempotency_key)
DO UPDATE SET fenced = k.fenced || excluded.fenced
"""


@pytest.fixture
def two_ledgers(database_url: str) -> Iterator[tuple[asyncio.Runner, list[asyncpg.Connection]]]:
    """Two connections to one empty ledger. What each does is never committed."""
    with asyncio.Runner() as runner:

        async def opened() -> list[asyncpg.Connection]:
            connections = [await asyncpg.connect(database_url) for _ in range(2)]
            await connections[0].execute(
                "INSERT INTO journal_day VALUES ($1, '2025-06-16', now(), 0, 0, '', '')", PLACE
            )
            return connections

        connections = runner.run(opened())
        yield runner, connections
        for connection in connections:
            runner.run(connection.close())


@given(st.lists(batches, min_size=2, max_size=4), st.tuples(purses, purses))
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_batch_has_the_verdicts_and_the_rows_of_one_statement(
    two_ledgers: Any, series: list[Any], money: Any
) -> None:
    runner, (ours, former) = two_ledgers
    made = [
        ([planned_claim(plan) for plan in plans], fenced, bypassed)
        for plans, fenced, bypassed in series
    ]

    async def outcome(connection: asyncpg.Connection, way: CommitWay) -> Any:
        async def whole_or_not(_: Any, arguments: Any) -> Any:
            async with connection.transaction():  # a savepoint
                return await way(connection, arguments)

        transaction = connection.transaction()
        await transaction.start()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(commits, "commit_claims", whole_or_not)
                for pool, (own, aside) in zip(POOLS, money, strict=True):
                    await leave(connection, pool, own * 100, [fen * 100 for fen in aside])
                outcomes = [await one(connection, *batch) for batch in made]
            return outcomes, await every_row(connection)
        finally:
            await transaction.rollback()

    assert runner.run(outcome(ours, commits.commit_claims)) == runner.run(
        outcome(former, commit_by_one_statement)
    )


async def one(
    connection: asyncpg.Connection, claims: list[PendingClaim], fenced: set[int], bypassed: bool
) -> Any:
    for n in fenced:
        if n < len(claims):
            attempt = claims[n].attempt
            await connection.execute(
                FENCE, PLACE, attempt.retailer_id, attempt.idempotency_key, attempt.claim_id
            )
    done = await commit(connection, claims, bypassed=bypassed)
    return [done.verdicts[claim.claim_id] for claim in claims], done.pools


async def every_row(connection: asyncpg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: sorted(
            map(tuple, await connection.fetch(f"SELECT {columns} FROM {table}")), key=repr
        )
        for table, columns in TABLES.items()
    }


# --- what is left out, and what fails ---------------------------------------------------


async def test_claims_that_are_left_out_take_nothing(database_url: str) -> None:
    """A key that is taken and an id that is fenced, in one batch with a claim that commits."""
    async with connected(database_url) as connection:
        first = planned_claim(ClaimPlan("taken"))
        await commit(connection, [first])
        lines = (LinePlan(serials=(1,), persons=(1,)),)
        again, fenced, fits = (
            planned_claim(ClaimPlan(key, lines=lines if key != "new" else (LinePlan(),)))
            for key in ("taken", "fenced", "new")
        )
        await connection.execute(FENCE, PLACE, "sandbox", "fenced", fenced.claim_id)
        done = await commit(connection, [again])
        done.verdicts |= (await commit(connection, [fenced, fits])).verdicts
        assert done.verdicts == {
            again.claim_id: KeyTaken(),
            fenced.claim_id: KeyTaken(),
            fits.claim_id: Committed(),
        }
        assert done.pools == {}  # of the batch in which nothing was committed
        kept = await connection.fetch("SELECT claim_id FROM claim ORDER BY claim_id")
        assert [row[0] for row in kept] == sorted([first.claim_id, fits.claim_id])
        for table in ("serial_claimed", "quota_use"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_an_unknown_pool_pays_nothing_and_spoils_no_other_claim(database_url: str) -> None:
    async with connected(database_url) as connection:
        lost = planned_claim(ClaimPlan("lost", lines=(LinePlan(), LinePlan(pool="unknown"))))
        fits = planned_claim(ClaimPlan("fits"))
        done = await commit(connection, [lost, fits])
        assert isinstance(done.verdicts[lost.claim_id], Unfit)
        assert done.verdicts[fits.claim_id] == Committed()
        assert await connection.fetchval("SELECT count(*) FROM claim_line") == 1


# --- locks ------------------------------------------------------------------------------


async def waits(connection: asyncpg.Connection, committing: asyncio.Task[Any]) -> None:
    """Return when the batch waits for a lock. Raises the batch's error."""
    while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        assert not committing.done(), await committing
        await asyncio.sleep(0.01)


# The rows that a batch of two claims locks, in this order.
KEY = "INSERT INTO idempotency_key (jurisdiction, retailer_id, idempotency_key) VALUES"
QUOTA = "INSERT INTO quota_use (jurisdiction, subject, quota, period, used, used_max) VALUES"
SERIAL = "INSERT INTO serial_claimed (jurisdiction, serial_no, claim_id, line_no) VALUES"
SLICE = "SELECT 1 FROM pool_part WHERE pool = '{}' AND part = {} FOR NO KEY UPDATE"
POOL = "SELECT 1 FROM pool WHERE pool = '{}' FOR NO KEY UPDATE"
LOCKS = {
    "first key": f"{KEY} ('{PLACE}', 'sandbox', 'a')",
    "second key": f"{KEY} ('{PLACE}', 'sandbox', 'b')",
    "first serial": f"{SERIAL} ('{PLACE}', 'S1', gen_random_uuid(), 1)",
    "second serial": f"{SERIAL} ('{PLACE}', 'S2', gen_random_uuid(), 1)",
    "first quota": f"{QUOTA} ('{PLACE}', '0000000000000001', 'made', '2025', 1, 9)",
    "second quota": f"{QUOTA} ('{PLACE}', '0000000000000002', 'made', '2025', 1, 9)",
    "first pool's first slice": SLICE.format("appliances", 1),
    "first pool's second slice": SLICE.format("appliances", 2),
    "second pool's first slice": SLICE.format("digital", 1),
    "second pool's second slice": SLICE.format("digital", 2),
    "first pool": POOL.format("appliances"),
    "second pool": POOL.format("digital"),
}


@pytest.mark.parametrize("way", [commits.commit_claims, commit_by_one_statement])
async def test_rows_are_locked_in_one_order(database_url: str, way: CommitWay) -> None:
    """A batch that waits for a row has locked none of those that come later. So no two batches,
    of whichever release and in whichever sequence, can wait for each other. The batch has its rows
    in the opposite sequence; it recalls, because slices are waited for by a recall alone."""
    async with AsyncExitStack() as stack:
        ours, holder, other = [
            await stack.enter_async_context(connected(database_url)) for _ in range(3)
        ]
        await other.execute("SET lock_timeout = '5s'")
        for pool in POOLS:
            await leave(ours, pool, 60, [20, 20])
        claims = [
            planned_claim(ClaimPlan(key, (LinePlan(pool, serials=(n,), persons=(n,), limit=9),)))
            for key, n, pool in (("b", 2, "digital"), ("a", 1, "appliances"))
        ]
        batch = (PLACE, *commits.commit_rows(claims), False, True)
        for n, lock in enumerate(LOCKS.values()):
            held = holder.transaction()
            await held.start()
            await holder.execute(lock)
            committing = asyncio.create_task(uncommitted(ours, way, batch))
            await waits(other, committing)
            for later in list(LOCKS.values())[n + 1 :]:
                trial = other.transaction()
                await trial.start()
                await other.execute(later)
                await trial.rollback()
            await held.rollback()
            left_out, states = await committing
            assert left_out == set()
            assert {(state.pool, state.slice_no, state.spent_fen) for state in states} == {
                (pool, 0, 100) for pool in POOLS
            }


async def uncommitted(connection: asyncpg.Connection, way: CommitWay, batch: Any) -> Any:
    """The result of a batch that is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        return await way(connection, batch)
    finally:
        await transaction.rollback()


async def test_money_that_comes_while_a_claim_waits_is_spent_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool is exhausted. A tranche opens: its transaction has the pool's row, and commits."""
    tries = []

    async def counted(*args: Any) -> Any:
        tries.append(args)
        return await real(*args)

    real = commits.commit_claims
    monkeypatch.setattr(commits, "commit_claims", counted)
    async with connected(database_url) as ours, connected(database_url) as other:
        await leave(ours, "appliances", 99, [])
        claim = planned_claim(ClaimPlan("k"))
        async with other.transaction():
            await other.execute("UPDATE pool SET allocated_fen = allocated_fen + 1")
            committing = asyncio.create_task(commit(ours, [claim]))
            await waits(other, committing)
        assert (await committing).verdicts == {claim.claim_id: Committed()}
        assert len(tries) == 1


@pytest.mark.parametrize("aside", [[], [7, 7, 7]], ids=["one row", "slices"])
async def test_120_writers_of_both_releases_spend_exactly_what_there_is(
    database_url: str, aside: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is money for 50 claims. 24 connections commit five claims each, one after another."""
    ways: dict[Any, CommitWay] = {}
    function = commits.commit_claims
    monkeypatch.setattr(
        commits, "commit_claims", lambda connection, rows: ways[connection](connection, rows)
    )
    async with AsyncExitStack() as stack:
        writers = [await stack.enter_async_context(connected(database_url)) for _ in range(24)]
        for n, writer in enumerate(writers):
            ways[writer] = function if n % 2 else commit_by_one_statement
        own = 50 - sum(aside)
        await leave(writers[0], "appliances", own * 100, [fen * 100 for fen in aside])

        async def five(n: int) -> list[Any]:
            claims = [planned_claim(ClaimPlan(f"{n}-{m}")) for m in range(5)]
            return [
                (await commit(writers[n], [claim])).verdicts[claim.claim_id] for claim in claims
            ]

        verdicts = [one for five_ in await asyncio.gather(*map(five, range(24))) for one in five_]
        assert sum(verdict == Committed() for verdict in verdicts) == 50
        assert sum(isinstance(verdict, Unfit) for verdict in verdicts) == 70
        row = await writers[0].fetchrow(
            "SELECT allocated_fen, spent_fen, (SELECT sum(amount_fen) FROM journal"
            " WHERE kind = 'grant') AS booked FROM pool_total WHERE pool = 'appliances'"
        )
        spent = await writers[0].fetchval("SELECT count(*) * 100 FROM claim")
        assert row["spent_fen"] == row["booked"] == spent == 5000


# --- plans ------------------------------------------------------------------------------


async def test_no_large_table_is_read_from_end_to_end(database_url: str) -> None:
    """The plans are kept for as long as a connection lives, and the first are made on empty
    tables. A scan of an empty table counts as well."""
    async with connected(database_url) as connection:

        async def scans() -> dict[str, int]:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            rows = await connection.fetch("SELECT relname, seq_scan FROM pg_stat_user_tables")
            return {row["relname"]: row["seq_scan"] for row in rows if row["relname"] in LARGE}

        await connection.execute("ANALYZE")
        before = await scans()
        for n in range(12):  # custom plans, then the generic ones
            lines = (LinePlan(serials=(n,), persons=(n,)),)
            await commit(connection, [planned_claim(ClaimPlan(f"{n}", lines=lines))])
            await commit(connection, [planned_claim(ClaimPlan(f"{n}")) for _ in range(2)])
        assert await scans() == before
