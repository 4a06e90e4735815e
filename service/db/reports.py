"""Connections for long statements: exports, closings, settlements.

They are few, and separate from those for claims, so that finance cannot starve the tills. A
statement may take minutes. It is bounded, because its snapshot holds back the vacuum.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from service.db.away import LedgerAway, driver_url

REPORT_CONNECTIONS_MAX = 3
REPORT_STATEMENT_S = 900
# How often the server checks that the client of a long statement is still connected.
CLIENT_CHECK_S = 1
# How long a request waits for a free connection. Those in use may be busy for minutes.
CONNECTION_WAIT_S = 2

_AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server died in the middle of a handshake
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
    """At most `REPORT_CONNECTIONS_MAX` connections, opened on first use."""

    def __init__(self, pool: Any, wait_s: float) -> None:
        self._pool = pool
        self._wait_s = wait_s

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for this caller alone. Raises LedgerAway or ReportsBusy.

        An exception or a cancellation aborts the connection: the server stops the statement, and
        another caller can connect at once.
        """
        try:
            connection = await self._pool.acquire(timeout=self._wait_s)
        except TimeoutError:  # before _AWAY: it is an OSError as well
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
            # A connection that breaks only now has done its work, and the pool drops it.
            with suppress(*_AWAY):
                await asyncio.shield(self._pool.release(connection))

    def close(self) -> None:
        """Abort all connections, with their statements."""
        self._pool.terminate()


async def open_reports(database_url: str, wait_s: float = CONNECTION_WAIT_S) -> Reports:
    """Connects on first use. A caller waits at most `wait_s` for a connection, the connecting
    included."""
    pool = await asyncpg.create_pool(
        driver_url(database_url),
        min_size=0,
        max_size=REPORT_CONNECTIONS_MAX,
        server_settings={
            "application_name": "butie reports",
            "timezone": "UTC",
            "statement_timeout": f"{REPORT_STATEMENT_S}s",
            "idle_in_transaction_session_timeout": f"{REPORT_STATEMENT_S}s",
            "client_connection_check_interval": f"{CLIENT_CHECK_S}s",
        },
    )
    return Reports(pool, wait_s)
