"""Connections for reports: each fault of the way to PostgreSQL counts as away."""

import asyncio
import threading

import asyncpg
import pytest

from service.db.away import LedgerAway
from service.db.reports import open_reports
from tests.conftest import House

pytestmark = pytest.mark.anyio


async def test_a_server_that_dies_while_the_driver_talks_to_it_is_away(house: House) -> None:
    """What the driver raises then depends on the step that it has come to."""
    reports = await open_reports(str(house.settings.database_url))

    async def ask_and_meet(fault: type[Exception]) -> None:
        async with reports.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
            raise fault("cannot switch to state 12; another operation (2) is in progress")

    for fault in (ConnectionResetError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        with pytest.raises(LedgerAway):
            await ask_and_meet(fault)
    reports.close()


async def test_a_connection_that_breaks_after_its_work_fails_nobody(house: House) -> None:
    url = str(house.settings.database_url)
    reports = await open_reports(url)

    async def terminate(pid: int) -> None:
        other = await asyncpg.connect(url)
        await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        await other.close()

    for _ in range(2):
        async with reports.connection() as connection:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            # In another thread and waited for here, so that the driver does not notice meanwhile.
            ending = threading.Thread(target=asyncio.run, args=(terminate(pid),))
            ending.start()
            ending.join()
    reports.close()
