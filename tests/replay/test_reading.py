"""The replay only reads, from a standby if there is one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from service.embedded import Engines
from service.replay import reader
from service.replay.read import LINES
from tests.conftest import House
from tests.finance.books import TODAY, close
from tests.finance.standby import standby_of
from tests.replay.replaying import aircon, replayed, run, sell

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

TABLES = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname
"""


async def contents(house: House) -> dict[str, str]:
    """A digest of the rows of each table."""
    names = [row[0] for row in await house.sql(TABLES)]
    digest = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} AS t"
    return {name: (await house.sql(digest.format(name)))[0][0] for name in names}


async def test_a_role_that_may_only_read_can_replay_and_nothing_changes(
    house: House, tmp_path: Path
) -> None:
    await sell(house, "k1", 1, aircon(1))
    await house.quiet()
    database = str(house.settings.database_url).rsplit("/", 1)[1]
    await house.sql("DROP ROLE IF EXISTS auditor")
    await house.sql("CREATE ROLE auditor LOGIN PASSWORD 'auditor'")
    await house.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO auditor")
    await house.sql("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO auditor")
    await house.sql(
        f"ALTER ROLE auditor IN DATABASE {database} SET default_transaction_read_only = on"
    )
    before = await contents(house)
    address = str(house.settings.database_url).rsplit("@", 1)[1]
    got = await replayed(f"postgresql://auditor:auditor@{address}", tmp_path)
    assert got.outcomes() == [("granted", 119_980)]
    assert await contents(house) == before
    await house.sql("DROP OWNED BY auditor")
    await house.sql("DROP ROLE auditor")


@pytest.fixture(scope="module")
def standby(engine_urls: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("standby")
    server = engine_urls.database_url.rsplit("/", 1)[0]
    with standby_of(server, folder) as url:
        yield url


async def test_the_lines_are_read_from_the_standby(
    house: House, standby: str, tmp_path: Path
) -> None:
    await sell(house, "k1", 1, aircon(1))
    url = f"{standby}/{str(house.settings.database_url).rsplit('/', 1)[1]}"
    await until_there(standby, url.rsplit("/", 1)[1])
    got = await replayed(str(house.settings.database_url), tmp_path, BUTIE_EXPORT_DATABASE_URL=url)
    assert got.outcomes() == [("granted", 119_980)]
    away = {"database_url": "postgresql://x:y@127.0.0.1:1/z", "folder": tmp_path}
    result = await run(**away, BUTIE_EXPORT_DATABASE_URL=url)
    assert result.exit_code == 2, "an open day may have claims that the standby does not know"
    await close(house)
    await until_closed(url)
    today = (str(TODAY), str(TODAY))
    got = await replayed(**away, period=today, BUTIE_EXPORT_DATABASE_URL=url)
    assert got.outcomes() == [("granted", 119_980)]


async def until_there(server: str, name: str) -> None:
    connection = await asyncpg.connect(f"{server}/postgres")
    known = "SELECT true FROM pg_database WHERE datname = $1"
    async with asyncio.timeout(60):
        while not await connection.fetchval(known, name):
            await asyncio.sleep(0.05)
    await connection.close()


async def until_closed(url: str) -> None:
    connection = await asyncpg.connect(url)
    async with asyncio.timeout(60):
        while not await connection.fetchval("SELECT count(*) FROM journal_day"):
            await asyncio.sleep(0.05)
    await connection.close()


async def test_a_slice_is_never_read_by_a_nested_loop(house: House) -> None:
    """PostgreSQL takes the range for one row: with ten thousand the loop takes half a minute."""
    connection = await asyncpg.connect(
        str(house.settings.database_url), server_settings=reader._SETTINGS
    )
    ends = (UUID(int=0), UUID(int=1))
    plan = await connection.fetch(f"EXPLAIN {LINES}", "330402", *ends, 1, None)
    await connection.close()
    assert not [row[0] for row in plan if "Nested Loop" in row[0]]


async def test_a_ledger_that_is_away_is_told_in_a_sentence(tmp_path: Path) -> None:
    result = await run("postgresql://x:y@127.0.0.1:1/z", tmp_path)
    assert result.exit_code == 2
    assert "PostgreSQL" in result.stderr and "Traceback" not in result.output


async def test_a_reader_that_cannot_read_ends_the_replay(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell(house, "k1", 1, aircon(1))
    monkeypatch.setattr(reader, "_read", os_exit)
    result = await run(str(house.settings.database_url), tmp_path)
    assert result.exit_code == 2
    assert "has ended: is there enough memory?" in result.stderr


def os_exit(*_: object) -> None:
    raise SystemExit(9)


async def test_a_person_is_one_person_while_the_key_is_replaced(
    house: House, tmp_path: Path
) -> None:
    """Some claims have the newest key's digest, some the former one's; quotas have the ledger's."""
    await sell(house, "k1", 1, aircon(1))
    newer = await sell(house, "k2", 1, aircon(2))
    await house.sql(
        "UPDATE claim SET consumer_digest = '\\x02' || decode(md5('wrapped'), 'hex')"
        " WHERE claim_id = $1::uuid",
        newer,
    )
    more = ("--set", "schemes.appliances.air_conditioner.quota.limit=1")
    got = await replayed(str(house.settings.database_url), tmp_path, *more)
    assert [line["outcome"] for line in got.lines] == ["granted", "refused"]
