"""Commits with an unknown outcome: late, cut off, timed out, deadlocked or not serializable.

All tests use the real PostgreSQL. In each the till gets its claim, or a 503 that is safe to retry,
and in the end there is one claim.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from service.claims.gate import gate
from service.embedded import Engines
from tests.builders import item_json, resident_id, serial
from tests.conftest import House, open_house
from tests.faults.proxy import Proxy, proxied

pytestmark = pytest.mark.anyio

# Much longer than any retry.
PATIENCE_S = 40


@pytest.fixture
async def far(
    hurried: None, database_url: str, engine_urls: Engines, tmp_path: Path
) -> AsyncIterator[tuple[House, Proxy]]:
    """A house that reaches PostgreSQL through a proxy."""
    async with (
        proxied(database_url) as (proxy, url),
        open_house(url, engine_urls.redis_url, tmp_path) as house,
    ):
        yield house, proxy


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await happened():
        assert time.monotonic() < deadline, "the condition does not become true"
        await asyncio.sleep(0.02)


async def until_definite(house: House, n: int, app: Any = None) -> httpx.Response:
    """The first answer that is no 503. Every 503 before it must say that a retry is safe."""
    while True:
        answer = await claim(house, n, app)
        if answer.status_code != 503:
            return answer
        assert answer.json()["retryable"]
        assert answer.headers["retry-after"]
        await asyncio.sleep(0.05)


def claim(house: House, n: int, app: Any = None) -> Any:
    person = {"id_type": "resident_id", "id_number": resident_id(n)}
    return house.claim(f"k{n}", app=app, consumer=person, items=[item_json(serial_no=serial(n))])


async def one_claim_each(house: House, count: int) -> None:
    """The ledger has `count` claims, one per key, and the pool has spent on no more."""
    await house.quiet()
    rows = await house.sql("SELECT count(*), count(DISTINCT idempotency_key) FROM claim")
    assert tuple(rows[0]) == (count, count)
    left = await house.sql("SELECT allocated_fen - spent_fen FROM pool WHERE pool = 'appliances'")
    assert left[0][0] == 2_000_000_000 - count * 119_980


async def waits_for_a_lock(connection: asyncpg.Connection) -> bool:
    query = """
        SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
            AND application_name = 'butie' AND wait_event_type = 'Lock')
    """
    return bool(await connection.fetchval(query))


async def test_a_commit_held_back_past_its_deadline_cannot_commit_any_more(
    far: tuple[House, Proxy],
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker's statement is stuck in the network. Another worker sweeps its admission. Then the
    statement arrives."""
    house, proxy = far
    monkeypatch.setattr(gate, "ADMISSION_S", -1)  # overdue at once
    assert (await until_definite(house, 1)).status_code == 201
    await house.quiet()
    connection = await asyncpg.connect(database_url)
    other = await house.open_worker(database_url=database_url)
    proxy.swallows = True
    stuck = asyncio.create_task(claim(house, 2))

    async def fenced() -> bool:
        await other.state.service.claims.sweeper.run_once()
        query = "SELECT 1 FROM idempotency_key WHERE idempotency_key = 'k2' AND claim_id IS NULL"
        return bool(await connection.fetchval(query))

    await until(fenced)
    assert (await stuck).status_code == 503
    given_up = await connection.fetchval(
        "SELECT fenced[1] FROM idempotency_key WHERE idempotency_key = 'k2'"
    )
    proxy.swallows = False  # now the statement reaches PostgreSQL
    await asyncio.sleep(0.5)
    assert await connection.fetchval("SELECT 1 FROM claim WHERE claim_id = $1", given_up) is None
    again = await until_definite(house, 2)
    assert again.status_code == 201
    assert again.json()["claim_id"] != str(given_up)
    await one_claim_each(house, 2)
    await connection.close()


async def test_a_connection_that_dies_after_the_commit_does_not_lose_the_claim(
    far: tuple[House, Proxy], database_url: str
) -> None:
    """PostgreSQL has committed, and its answer is lost."""
    house, proxy = far
    assert (await until_definite(house, 1)).status_code == 201
    connection = await asyncpg.connect(database_url)
    proxy.swallows_answers = True
    answer = asyncio.create_task(claim(house, 2))
    in_ledger = "SELECT claim_id FROM claim WHERE idempotency_key = 'k2'"
    await until(lambda: has_row(connection, in_ledger))
    claim_id = await connection.fetchval(in_ledger)
    proxy.cut()
    proxy.swallows_answers = False
    answered = await answer
    if answered.status_code == 503:
        answered = await until_definite(house, 2)
    assert answered.status_code == 201
    assert answered.json()["claim_id"] == str(claim_id)
    await one_claim_each(house, 2)
    await connection.close()


async def has_row(connection: asyncpg.Connection, query: str) -> bool:
    return await connection.fetchval(query) is not None


async def test_a_connection_that_dies_before_the_commit_leaves_nothing_half_done(
    far: tuple[House, Proxy], database_url: str
) -> None:
    """The backend is terminated while its statement waits for a lock."""
    house, _ = far
    assert (await until_definite(house, 1)).status_code == 201
    blocker = await asyncpg.connect(database_url)
    async with blocker.transaction():
        await blocker.execute("SELECT 1 FROM pool FOR UPDATE")
        answer = asyncio.create_task(claim(house, 2))
        await until(lambda: waits_for_a_lock(blocker))
        await blocker.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'butie'"
        )
    first = await answer
    assert first.status_code in (201, 503)
    assert (await until_definite(house, 2)).status_code == 201
    await one_claim_each(house, 2)
    await blocker.close()


async def test_a_commit_that_times_out_is_resolved_by_asking(
    far: tuple[House, Proxy], database_url: str
) -> None:
    """Another transaction locks the pool's row for longer than any commit may take."""
    house, _ = far
    hurried = await house.open_worker(answer_within_ms=3000)
    assert (await until_definite(house, 1)).status_code == 201
    blocker = await asyncpg.connect(database_url)
    async with blocker.transaction():
        await blocker.execute("SELECT 1 FROM pool FOR UPDATE")
        first = await claim(house, 2, hurried)
        assert first.status_code == 503, first.text
    assert (await until_definite(house, 2)).status_code == 201
    await one_claim_each(house, 2)
    await blocker.close()


async def test_a_deadlock_is_retried(house: House, database_url: str) -> None:
    """Another transaction takes locks in another order, and PostgreSQL aborts our statement."""
    assert (await until_definite(house, 1)).status_code == 201
    blocker = await asyncpg.connect(database_url)
    async with blocker.transaction():
        await blocker.execute("SET LOCAL deadlock_timeout = '1min'")  # so it is not the victim
        await blocker.execute("SELECT 1 FROM pool FOR UPDATE")
        answer = asyncio.create_task(claim(house, 2))
        await until(lambda: waits_for_a_lock(blocker))
        await blocker.execute(
            "INSERT INTO idempotency_key (jurisdiction, retailer_id, idempotency_key, fenced)"
            " VALUES ('330402', 'sandbox', 'k2', '{}')"
        )  # waits for our statement, which waits for it
    assert (await answer).status_code in (201, 503)
    assert (await until_definite(house, 2)).status_code == 201
    await one_claim_each(house, 2)
    await blocker.close()


FAILS_TO_SERIALIZE = """
CREATE SEQUENCE tries;
CREATE FUNCTION try_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') <= {tries} THEN RAISE serialization_failure; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER try_again BEFORE INSERT ON claim FOR EACH ROW EXECUTE FUNCTION try_again()
"""


async def test_a_serialization_failure_is_retried(house: House) -> None:
    """The error is PostgreSQL's own. At READ COMMITTED only a trigger can cause it."""
    for statement in split(FAILS_TO_SERIALIZE.format(tries=2)):
        await house.sql(statement)
    assert (await until_definite(house, 1)).status_code == 201
    await one_claim_each(house, 1)


async def test_serialization_failures_without_end_mean_503_and_a_safe_retry(house: House) -> None:
    for statement in split(FAILS_TO_SERIALIZE.format(tries=1_000_000)):
        await house.sql(statement)
    answer = await claim(house, 1)
    assert (answer.status_code, answer.json()["retryable"]) == (503, True), answer.text
    assert answer.headers["retry-after"]
    await house.sql("DROP TRIGGER try_again ON claim")
    assert (await until_definite(house, 1)).status_code == 201
    await one_claim_each(house, 1)


def split(statements: str) -> list[str]:
    """Single statements, because asyncpg prepares one at a time. A body in $$ has semicolons of its
    own."""
    head, body, tail = statements.split("$$")
    *before, begun = head.split(";\n")
    ended, *after = tail.split(";\n")
    return [*before, f"{begun}$${body}$${ended}", *after]


async def test_a_database_with_a_stricter_default_isolation_works_as_well(
    database_url: str, engine_urls: Engines, tmp_path: Path
) -> None:
    admin = await asyncpg.connect(database_url)
    name = urlsplit(database_url).path[1:]
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    async with open_house(database_url, engine_urls.redis_url, tmp_path) as house:
        apps = [house.app, await house.open_worker()]
        answers = await asyncio.gather(
            *(until_definite(house, n, apps[n % len(apps)]) for n in range(20))
        )
        assert {answer.status_code for answer in answers} == {201}
        await one_claim_each(house, 20)
    await admin.close()
