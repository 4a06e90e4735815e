"""Connections for reports: each fault of the way to PostgreSQL counts as away."""

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
