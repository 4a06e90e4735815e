"""Connections for long statements: exports, closings, settlements.

Few, and separate from the claims' own, so that finance cannot starve the tills. A statement may
take minutes. It is bounded, because its snapshot holds back the vacuum.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from service.db.away import LedgerAway, driver_url

CONNECTIONS_MAX = 3
STATEMENT_S = 900
# A statement that sends no rows for a while would not notice that the client has gone.
LEFT_S = 1
# How long a request waits for a free connection: the others may take minutes.
TURN_S = 2

_AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.SerializationError,  # a standby cancels a reader that holds back its replay
)


class ReportsBusy(Exception):
    """All connections for reports are in use."""


class Reports:
    """At most `CONNECTIONS_MAX` connections, opened on first use."""

    def __init__(self, pool: Any, turn_s: float) -> None:
        self._pool = pool
        self._turn_s = turn_s

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for this caller alone. Raises LedgerAway or ReportsBusy.

        An exception or a cancellation aborts it: the server stops the statement, and the place is
        free at once.
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
            with suppress(asyncpg.InterfaceError):  # aborted before, by `close`
                connection.terminate()
            if isinstance(error, _AWAY):
                raise LedgerAway("PostgreSQL did not answer") from error
            raise
        finally:
            await asyncio.shield(self._pool.release(connection))

    def close(self) -> None:
        """Abort what is under way."""
        self._pool.terminate()


async def open_reports(database_url: str, turn_s: float = TURN_S) -> Reports:
    """Opens no connection yet. A caller waits at most `turn_s` for one, connecting included."""
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
