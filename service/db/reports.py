"""Connections for long statements: exports, closings, settlements.

Few, and apart from the claims' own, so that finance cannot starve the tills. A statement may
take minutes, but not for ever: its snapshot holds back the vacuum.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from service.db.away import LedgerAway, driver_url

CONNECTIONS_MAX = 3
STATEMENT_S = 900
# A statement that gives no rows for long would not notice that we have gone.
LEFT_S = 1
# How long one waits for its turn: the others are answered in minutes, not in moments.
TURN_S = 2

_AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.SerializationError,  # a standby that had to go on cancels who reads too long
)


class ReportsBusy(Exception):
    """All connections for reports are in use."""


class Reports:
    """At most `CONNECTIONS_MAX` connections, made when they are first wanted."""

    def __init__(self, pool: Any, turn_s: float) -> None:
        self._pool = pool
        self._turn_s = turn_s

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of one's own. Raises LedgerAway or ReportsBusy.

        Whoever leaves with an exception, or is cancelled, leaves it cut off: the server stops
        the statement, and the place is free at once.
        """
        try:
            connection = await self._pool.acquire(timeout=self._turn_s)
        except TimeoutError:  # an OSError too, so it comes first
            raise ReportsBusy from None
        except _AWAY as error:
            raise LedgerAway("no connection to PostgreSQL") from error
        try:
            yield connection
        except BaseException as error:
            with suppress(asyncpg.InterfaceError):  # it was cut before, by `close`
                connection.terminate()
            if isinstance(error, _AWAY):
                raise LedgerAway("PostgreSQL did not answer") from error
            raise
        finally:
            await asyncio.shield(self._pool.release(connection))

    def close(self) -> None:
        """Cut what is under way."""
        self._pool.terminate()


async def open_reports(database_url: str, turn_s: float = TURN_S) -> Reports:
    """Connects to nothing yet. A connection is waited for `turn_s`, making it included."""
    pool = await asyncpg.create_pool(
        driver_url(database_url),
        min_size=0,
        max_size=CONNECTIONS_MAX,
        server_settings={
            "application_name": "butie reports",
            "timezone": "UTC",
            "statement_timeout": f"{STATEMENT_S}s",
            "idle_in_transaction_session_timeout": f"{STATEMENT_S}s",
            "client_connection_check_interval": f"{LEFT_S}s",
        },
    )
    return Reports(pool, turn_s)
