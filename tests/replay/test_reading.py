"""The replay only reads, from a standby if there is one."""

import asyncio
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import UUID

import asyncpg
import pyarrow.parquet
import pytest

from service.cli.books import books_of
from service.config import Misconfigured
from service.embedded import Engines
from service.policies import SHIPPED, read_book
from service.replay import reader
from service.replay.lines import LineFiles, draft
from service.replay.period import ReplayPeriod, laid_on
from service.replay.read import LINES, SliceBounds
from service.replay.reader import PolicySource, ReadJob
from service.replay.report import ReplayRequest, replay
from tests.conftest import House
from tests.finance.books import TODAY, close
from tests.finance.standby import standby_of
from tests.replay.replaying import IN_FORCE, PERIOD, aircon, replayed, run, sell

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


async def test_a_reader_that_is_killed_ends_the_replay_with_a_sentence(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell(house, "k1", 1, aircon(1))
    monkeypatch.setattr(reader, "_read", killed)
    result = await run(str(house.settings.database_url), tmp_path)
    assert result.exit_code == 2
    assert "has ended: is there enough memory?" in result.stderr


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def test_an_unexpected_error_in_a_reader_is_a_bug_with_its_text() -> None:
    """A reader gets a policy that it cannot read."""
    period = ReplayPeriod(date(2025, 1, 1), date(2025, 1, 31))
    source = PolicySource("id: [", "broken.yaml", {})
    job = ReadJob("postgresql://x:y@127.0.0.1:1/z", "1", 1, source, period, {}, texts=False)
    slices = [SliceBounds(UUID(int=0), UUID(int=1))]
    with pytest.raises(RuntimeError, match=r"(?s)Bug! .*PolicyFileError.*broken\.yaml"):
        async with reader.readers(job, slices):
            pass


async def test_ctrl_c_ends_a_replay_that_waits_for_its_readers(house: House) -> None:
    """A terminal sends the signal to the readers as well."""
    await sell(house, "k1", 1, aircon(1))
    await house.quiet()
    url = str(house.settings.database_url)
    locker = await asyncpg.connect(url)
    async with locker.transaction():
        await locker.execute("LOCK TABLE claim_line")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", "policy", "replay", IN_FORCE),
            *("--from", PERIOD[0], "--to", PERIOD[1]),
            env=os.environ | {"BUTIE_DATABASE_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'butie replay' AND wait_event_type = 'Lock'"
        )
        async with asyncio.timeout(60):
            while not (await house.sql(waiting))[0][0]:
                await asyncio.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            _, errors = await process.communicate()
    await locker.close()
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors and b"memory" not in errors


async def test_ctrl_c_ends_the_pass_after_the_slice_at_hand(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal sends SIGINT to the readers as well. For the pass it is a cancellation."""
    monkeypatch.setattr("service.replay.read.SLICE_CLAIMS", 1)
    for n in range(1, 7):
        await sell(house, f"k{n}", n, aircon(n))
    url, book = str(house.settings.database_url), read_book("330402", None)
    source = PolicySource((SHIPPED / IN_FORCE).read_text(), IN_FORCE, {})
    policy = source.read()
    days = [date.fromisoformat(day) for day in PERIOD]
    request = ReplayRequest(book, policy, source, laid_on(policy, *days), {})
    so_far = []

    def interrupt(done: int, _: int) -> None:
        so_far.append(done)
        for process in multiprocessing.active_children():
            os.kill(process.ident or 0, signal.SIGINT)
        if done == 2:
            passing.cancel()

    async with books_of(house.settings) as books:
        passing = asyncio.create_task(replay(books, url, request, LineFiles(), interrupt))
        with pytest.raises(asyncio.CancelledError):
            await passing
    assert so_far == [1, 2]


async def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    away, path = "postgresql://x:y@127.0.0.1:1/z", str(tmp_path / "all")
    result = await run(away, tmp_path, "--csv", path, "--svg", f"{tmp_path}/./all")
    assert result.exit_code == 2
    assert "--svg and --csv are one file" in result.stderr


async def test_a_ledger_that_is_away_is_not_the_fault_of_a_file(tmp_path: Path) -> None:
    for fault in (ConnectionRefusedError(), KeyboardInterrupt()):
        with pytest.raises(type(fault)), draft(tmp_path / "t.csv"):
            raise fault
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Misconfigured, match="cannot be written"), draft(tmp_path / "no" / "t.csv"):
        pass


async def test_only_the_csv_guards_a_spreadsheet_from_an_id_with_a_hyphen(
    house: House, tmp_path: Path
) -> None:
    await sell(house, "k1", 1, aircon(1))
    await house.sql("UPDATE claim SET retailer_id = '-x'")
    got = await replayed(str(house.settings.database_url), tmp_path)
    assert got.lines[0]["retailer_id"] == "'-x"
    table = pyarrow.parquet.read_table(io.BytesIO(got.files["parquet"]))
    assert table.column("retailer_id").to_pylist() == ["-x"]


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
