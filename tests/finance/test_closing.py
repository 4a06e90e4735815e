"""A day closes once. A late entry is booked on the next day. A changed entry is reported."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest
from typer.testing import CliRunner

from service.cli.commands import app
from service.core.calendar import SHANGHAI
from service.core.funding import funding_shares
from service.finance.journal.closing import closes_at, last_due
from service.finance.journal.verify import JournalFinding, verify
from tests.conftest import House
from tests.finance.books import PLACE, TODAY, claim_some, close

pytestmark = pytest.mark.anyio

NEXT = TODAY + timedelta(days=1)


async def findings(house: House) -> list[JournalFinding]:
    async with house.service.reports.connection() as connection:
        return [finding async for day in verify(connection, PLACE) for finding in day.findings]


@pytest.fixture
async def connection(house: House) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(str(house.settings.database_url))
    yield opened
    await opened.close()


BOOK = """
    INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen, document_no)
    VALUES ('330402', 'allocation', $1, now(), 'cars', 1, 'D')
"""


def test_a_day_closes_half_an_hour_after_its_end() -> None:
    assert closes_at(TODAY) == datetime(2025, 6, 19, 0, 30, tzinfo=SHANGHAI)
    assert last_due(closes_at(TODAY)) == TODAY
    assert last_due(closes_at(TODAY) - timedelta(seconds=1)) == TODAY - timedelta(days=1)


async def test_a_closed_day_has_its_count_sum_and_a_sequence_without_gaps(house: House) -> None:
    await claim_some(house, 3)
    async with house.service.reports.connection() as connection:
        given_up = connection.transaction()
        await given_up.start()
        await connection.execute(BOOK, TODAY)
        await given_up.rollback()  # its entry_no is lost
    await claim_some(house, 2, start=4)
    assert await close(house) == [TODAY]
    (day,) = await house.sql("SELECT * FROM journal_day")
    (known,) = await house.sql("SELECT count(*) AS n, sum(amount_fen) AS fen FROM journal")
    assert (day["entries"], day["sum_fen"]) == (known["n"], known["fen"])
    sealed = await house.sql("SELECT seq FROM journal_seal ORDER BY entry_no")
    assert [row["seq"] for row in sealed] == list(range(1, known["n"] + 1))
    assert await findings(house) == []


async def test_a_day_is_not_closed_before_its_moment_nor_twice(house: House) -> None:
    assert await close(house, TODAY - timedelta(days=1)) == []
    assert await close(house) == [TODAY]
    assert await close(house) == []


async def test_days_without_entries_close_too_and_chain(house: House) -> None:
    assert len(await close(house, TODAY + timedelta(days=3))) == 4
    days = await house.sql("SELECT * FROM journal_day ORDER BY day")
    for earlier, later in pairwise(days):
        assert later["previous_digest"] == earlier["digest"]
    assert len({day["digest"] for day in days}) == 4


async def test_nothing_can_be_booked_into_a_closed_day(
    house: House, connection: asyncpg.Connection
) -> None:
    await close(house)
    for day in (TODAY, TODAY - timedelta(days=30)):
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="closed"):
            await connection.execute(BOOK, day)
    await connection.execute(BOOK, NEXT)


async def test_an_old_snapshot_cannot_book(house: House, connection: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        async with connection.transaction(isolation="repeatable_read"):
            await connection.execute(BOOK, TODAY)


async def test_a_late_claim_takes_the_next_day(house: House) -> None:
    await close(house, NEXT)
    await claim_some(house, 1)
    (entry,) = await house.sql("SELECT booked_on FROM journal WHERE kind = 'grant'")
    assert entry["booked_on"] == NEXT + timedelta(days=1)


async def test_a_booking_under_way_is_waited_for(
    house: House, connection: asyncpg.Connection
) -> None:
    booking = connection.transaction()
    await booking.start()
    await connection.execute(BOOK, TODAY)
    closing = asyncio.create_task(close(house))
    await asyncio.sleep(0.1)
    assert not closing.done()
    await booking.commit()
    assert await closing == [TODAY]
    (day,) = await house.sql("SELECT entries FROM journal_day")
    assert day["entries"] == 7  # six budgets and this


async def test_closings_and_claims_that_race_leave_every_entry_in_a_day(house: House) -> None:
    async def claim(n: int) -> None:
        await claim_some(house, 1, start=n)

    closing = (close(house, TODAY + timedelta(days=n)) for n in range(4))
    await asyncio.gather(*(claim(n) for n in range(1, 40)), *closing)
    assert await findings(house) == []
    await close(house, TODAY + timedelta(days=9))
    (left,) = await house.sql(
        "SELECT (SELECT count(*) FROM journal) - (SELECT count(*) FROM journal_seal) AS n"
    )
    assert left["n"] == 0


@pytest.mark.parametrize("table", ["journal", "journal_day", "journal_seal", "policy_funding"])
@pytest.mark.parametrize("change", ["UPDATE {} SET jurisdiction = '1'", "DELETE FROM {}"])
async def test_what_is_closed_cannot_be_rewritten(house: House, table: str, change: str) -> None:
    await close(house)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await house.sql(change.format(table))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await house.sql(f"TRUNCATE {table}")


TAMPER = {
    "changed": (
        "UPDATE journal SET amount_fen = amount_fen + 1 WHERE entry_no = 8",
        "UPDATE journal SET note = 'x' WHERE entry_no = 8",
        "UPDATE journal SET booked_on = booked_on + 1 WHERE entry_no = 8",
    ),
    "dropped": ("DELETE FROM journal WHERE entry_no = 8",),
    "added": (
        "INSERT INTO journal (jurisdiction, entry_no, kind, booked_on, booked_at, pool, amount_fen,"
        " document_no) OVERRIDING SYSTEM VALUE"
        " VALUES ('330402', 900, 'allocation', '2025-06-18', now(), 'cars', 1, 'D')",
    ),
    "missing_day": (
        "DELETE FROM journal_day WHERE day = '2025-06-18'",
        "DELETE FROM journal_day WHERE day = '2025-06-19'",
        "DELETE FROM journal_day WHERE day >= '2025-06-18'",
    ),
    "broken_digest": (
        "UPDATE journal SET amount_fen = amount_fen + 1 WHERE entry_no = 8",
        "UPDATE journal_day SET sum_fen = sum_fen + 1 WHERE day = '2025-06-18'",
    ),
    "broken_chain": ("UPDATE journal_day SET digest = '\\x00' WHERE day = '2025-06-18'",),
}


@pytest.mark.parametrize(
    ("fault", "tampering"), [(fault, sql) for fault, sqls in TAMPER.items() for sql in sqls]
)
async def test_tampering_is_found_and_named(house: House, fault: str, tampering: str) -> None:
    await claim_some(house, 3)
    await close(house, NEXT + timedelta(days=1))
    async with house.service.reports.connection() as owner:
        await owner.execute("SET session_replication_role = replica")
        await owner.execute(tampering)
        await owner.execute("RESET session_replication_role")
    reported = await findings(house)
    named = {(finding.fault, finding.entry_no) for finding in reported}
    entry = {"changed": 8, "dropped": 8, "added": 900}.get(fault)
    assert (fault, entry) in named, reported
    assert {finding.entry_no for finding in reported} <= {entry, 8, None}


async def test_the_ledger_splits_as_the_core_does(house: House) -> None:
    chance = random.Random(7)
    amounts = [chance.randint(-(10**12), 10**12) for _ in range(500)] + list(range(-99, 100))
    rates = [(8500, 500, 500, 500), (3333, 3333, 3333, 1), (2500,) * 4, (0, 0, 0, 10_000)]
    for rate in rates:
        rows = await house.sql(
            "SELECT s.* FROM unnest($1::bigint[]) WITH ORDINALITY AS a (fen, n),"
            " funding_shares(fen, $2, $3, $4, $5) AS s ORDER BY n",
            amounts,
            *rate,
        )
        assert [tuple(row) for row in rows] == [funding_shares(fen, rate) for fen in amounts]


async def test_the_command_line_proves_the_books_or_names_what_is_wrong(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await claim_some(house, 1)
    await close(house)
    monkeypatch.setenv("BUTIE_DATABASE_URL", str(house.settings.database_url))
    (day,) = await house.sql("SELECT encode(digest, 'hex') AS digest FROM journal_day")

    async def run(*arguments: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["journal", *arguments])
        return result.exit_code, result.output

    code, output = await run("verify", "--digest", day["digest"])
    assert (code, "2025-06-18" in output, "is whole" in output) == (0, True, True), output
    code, output = await run("verify", "--digest", "0" * 64)
    assert (code, "rewritten" in output) == (1, True)
    code, output = await run("verify", "--digest", "00")
    assert (code, "64 hexadecimal digits" in output) == (2, True)
    async with house.service.reports.connection() as owner:
        await owner.execute("SET session_replication_role = replica")
        await owner.execute("DELETE FROM journal WHERE entry_no = 7")
    code, output = await run("verify")
    assert (code, "2025-06-18 entry 7: dropped" in output) == (1, True), output


async def test_the_command_line_says_which_day_it_could_not_close(
    house: House, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUTIE_DATABASE_URL", str(house.settings.database_url))
    async with connection.transaction():
        await connection.execute(BOOK, TODAY)
        result = await asyncio.to_thread(CliRunner().invoke, app, ["journal", "close"])
    assert result.exit_code == 1
    assert "2025-06-18 waits" in result.output, result.output
