"""Finance may read from a streaming standby: complete up to a number there too."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest

from service.db.engine import LedgerAway
from service.db.reports import open_reports
from service.embedded import Engines
from service.finance.journal.selection import Selection
from service.finance.journal.snapshot import Books
from tests.conftest import House
from tests.finance.books import PERIOD, PLACE, TODAY, claim_some, close, many_entries
from tests.finance.reconciling import COLUMNS, DAY, HEADING, WORDS, counts, ended
from tests.finance.standby import standby_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(engine_urls: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("standby")
    with standby_of(engine_urls.database_url.rsplit("/", 1)[0], folder) as url:
        yield url


@dataclass
class Pair:
    """A service, another worker of it that reads from the standby, and the standby itself."""

    house: House
    reading: Any
    url: str
    standby: asyncpg.Connection

    async def get(self, path: str = "", **query: Any) -> httpx.Response:
        async with self.house.client("finance", self.reading) as client:
            return await client.get(f"/v1/exports/journal{path}", params={**PERIOD, **query})

    async def replay(self, how: str) -> None:
        await self.standby.execute(f"SELECT pg_wal_replay_{how}()")


@pytest.fixture
async def pair(house: House, server: str) -> AsyncIterator[Pair]:
    name = str(house.settings.database_url).rsplit("/", 1)[1]
    url = f"{server}/{name}"
    standby = await asyncpg.connect(f"{server}/postgres")
    async with asyncio.timeout(60):
        while not await standby.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            await asyncio.sleep(0.05)
    reading = await house.open_worker(export_database_url=url)
    yield Pair(house, reading, url, standby)
    await standby.execute("SELECT pg_wal_replay_resume()")
    await standby.close()


async def test_exports_and_totals_come_from_the_standby_and_say_the_same(pair: Pair) -> None:
    await claim_some(pair.house, 3)
    file, totals = await pair.get(), await pair.get("/totals")
    async with pair.house.client("finance") as client:
        here = await client.get("/v1/exports/journal", params=PERIOD)
        told = await client.get("/v1/exports/journal/totals", params=PERIOD)
    assert file.status_code == 200, file.text
    assert (file.content, totals.json()) == (here.content, told.json())
    assert file.headers["butie-rows"] == "9"
    # Entry numbers are given out in advance in its log: that is not how far the books are.
    assert file.headers["butie-until-entry"] == here.headers["butie-until-entry"]
    readers = await pair.standby.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'butie reports'"
    )
    assert readers > 0


async def test_a_standby_that_lags_is_waited_for_and_then_it_is_said(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await claim_some(pair.house, 1)
    await pair.replay("pause")
    await claim_some(pair.house, 1, start=5)
    monkeypatch.setattr("service.finance.journal.snapshot.BEHIND_MAX_S", 0.3)
    behind = await pair.get()
    assert (behind.status_code, behind.json()["code"]) == (503, "standby_behind")
    assert behind.headers["retry-after"]
    monkeypatch.setattr("service.finance.journal.snapshot.BEHIND_MAX_S", 60)
    waiting = asyncio.create_task(pair.get())
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await pair.replay("resume")
    assert (await waiting).headers["butie-rows"] == "8"  # with the claim it had not seen


async def test_a_booking_under_way_at_the_ledger_is_waited_for(pair: Pair) -> None:
    slow = await asyncpg.connect(str(pair.house.settings.database_url))
    booking = slow.transaction()
    await booking.start()
    await slow.execute(
        "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
        " document_no) VALUES ('330402', 'allocation', '2025-06-18', now(), 'cars', 1, 'SLOW')"
    )
    await claim_some(pair.house, 1)
    exporting = asyncio.create_task(pair.get())
    await asyncio.sleep(0.2)
    assert not exporting.done()
    await booking.commit()
    await slow.close()
    assert (await exporting).text.count("SLOW") == 1


async def test_reconciliations_read_the_standby_and_are_kept_in_the_ledger(pair: Pair) -> None:
    (claim_id,) = await claim_some(pair.house, 1)
    await many_entries(pair.house, 2)
    async with pair.house.client("finance", pair.reading) as client:
        answer = await client.post(
            "/v1/reconciliations",
            params={**DAY, **COLUMNS, **WORDS},
            content=f"{HEADING}\n{claim_id},0.01,成功".encode(),
        )
    assert answer.status_code == 202, answer.text
    shown = await ended(pair.house, answer.headers["location"])
    assert counts(shown) == {"amount_differs": 1, "missing_there": 2}


async def test_with_the_ledger_away_closed_days_can_be_read(pair: Pair) -> None:
    await claim_some(pair.house, 2)
    await close(pair.house)
    file = await pair.get(to="2025-06-18")  # by now the standby has the closing
    away = await open_reports("postgresql://nobody:x@127.0.0.1:1/none")
    books = await Books.open(away, pair.url)
    closed = Selection(PLACE, TODAY, TODAY)
    async with books.snapshot(closed) as (reading, selection):
        where, arguments = selection.where()
        count = await reading.fetchval(f"SELECT count(*) FROM journal WHERE {where}", *arguments)
    assert str(count) == file.headers["butie-rows"] == "8"
    with pytest.raises(LedgerAway, match="closed"):
        async with books.snapshot(Selection(PLACE, TODAY, TODAY.replace(day=19))):
            pass
    books.close()
    away.close()


async def test_another_database_is_no_standby(pair: Pair) -> None:
    for url, status in (
        (str(pair.house.settings.database_url), 200),  # the ledger by another name
        (str(pair.house.settings.database_url).rsplit("/", 1)[0] + "/butie", 503),
    ):
        pair.reading = await pair.house.open_worker(export_database_url=url)
        assert (await pair.get()).status_code == status
