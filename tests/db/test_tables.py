"""The migrations make the declared schema, and the books cannot be rewritten."""

import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from service.config import Misconfigured
from service.db.engine import LOCK_TIMEOUT_MS, connect, migrate
from service.db.tables import metadata
from service.ops.health import ledger_fault
from tests.conftest import Clones, House, cloned
from tests.upgrade.migrations import chain

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
BEFORE_THE_INDEX = "0018"


def differences(connection: sa.Connection) -> list[object]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": False}
    )
    return list(compare_metadata(context, metadata))


async def test_migrations_make_the_declared_tables(house: House) -> None:
    async with connect(house.service.engine, within_s=20) as connection:
        diffs = await connection.run_sync(differences)
    assert [diff for diff in diffs if "alembic_version" not in str(diff)] == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE journal SET amount_fen = 1",
        "DELETE FROM journal",
        "TRUNCATE journal",
        "UPDATE pool SET confirmed_fen = allocated_fen + 1",
        "UPDATE pool SET confirmed_fen = -1",
        "UPDATE pool SET escrow_fen = allocated_fen - spent_fen + 1",
        "INSERT INTO serial_claimed SELECT * FROM serial_claimed",
        "UPDATE quota_use SET used = used_max + 1",
        "UPDATE claim_line SET subsidy_fen = cap_fen + 1",
        "INSERT INTO idempotency_key SELECT * FROM idempotency_key",
    ],
)
async def test_the_database_alone_refuses_to_break_the_books(house: House, change: str) -> None:
    await house.claim("k1")
    with pytest.raises(asyncpg.PostgresError):
        await house.sql(change)


async def test_an_older_schema_is_a_fault_and_a_newer_one_is_not(house: House) -> None:
    await house.sql("UPDATE alembic_version SET version_num = '0001'")
    assert "butie migrate" in await ledger_fault(house.service.engine)
    await house.sql("UPDATE alembic_version SET version_num = '9999'")
    assert await ledger_fault(house.service.engine) == ""
    await house.sql("DELETE FROM alembic_version")
    assert "butie migrate" in await ledger_fault(house.service.engine)


async def test_a_migration_retries_a_locked_table(database_url: str) -> None:
    other = await asyncpg.connect(database_url)
    holding = other.transaction()
    await holding.start()
    await other.execute("LOCK TABLE alembic_version")
    migrating = asyncio.create_task(asyncio.to_thread(migrate, database_url))
    try:
        # Longer than one try.
        assert not (await asyncio.wait({migrating}, timeout=4 * LOCK_TIMEOUT_MS / 1000))[0]
    finally:
        await holding.rollback()
        await other.close()
    await migrating


async def test_a_build_of_indexes_that_was_interrupted_is_begun_anew(house: House) -> None:
    (script,) = (script for script in chain() if script.revision == "0018")
    await house.sql("UPDATE alembic_version SET version_num = $1", script.down_revision)
    await asyncio.to_thread(migrate, str(house.settings.database_url), "0018")
    assert await house.sql("SELECT 1 FROM alembic_version WHERE version_num = '0018'")
    assert await house.sql("SELECT 1 FROM pg_index WHERE NOT indisvalid") == []


async def test_an_index_that_waits_for_an_older_snapshot_is_built_in_the_end(
    clones: Clones, anyio_backend: str
) -> None:
    async with cloned(clones, "template0") as url:
        await asyncio.to_thread(migrate, url, BEFORE_THE_INDEX)
        other = await asyncpg.connect(url)
        holding = other.transaction(isolation="repeatable_read")
        await holding.start()
        await other.fetch("SELECT FROM claim")
        # Two hosts at once: neither may keep the other's index waiting.
        migrating = [
            asyncio.ensure_future(_run(sys.executable, "-m", "service", "migrate", url=url))
            for _ in range(2)
        ]
        try:
            # Longer than one try.
            assert not (await asyncio.wait(migrating, timeout=5))[0]
        finally:
            await holding.rollback()
        assert await asyncio.gather(*migrating) == [0, 0]
        valid = await other.fetch(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'claim_consumer_idx'::regclass"
        )
        assert [row["indisvalid"] for row in valid] == [True]
        await other.close()


async def _run(*command: str, url: str) -> int:
    environment = {**os.environ, "BUTIE_DATABASE_URL": url}
    process = await asyncio.create_subprocess_exec(*command, env=environment, cwd=ROOT)
    return await process.wait()


async def test_a_newer_releases_ledger_is_refused_in_one_sentence(house: House) -> None:
    await house.sql("UPDATE alembic_version SET version_num = 'newer'")
    with pytest.raises(Misconfigured, match="newer release"):
        await asyncio.to_thread(migrate, str(house.settings.database_url))
