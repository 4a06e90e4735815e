"""Engines and connections to PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from service.config import Misconfigured
from service.db.away import LedgerAway as LedgerAway
from service.db.away import NeverSent as NeverSent
from service.db.away import driver_url

MIGRATIONS = Path(__file__).parents[2] / "migrations"

# A caller gets an answer, or a 503, within a second.
ANSWER_S = 0.8
# A healthy server on a local network accepts a connection faster.
CONNECT_S = 0.7
# A live server closes a connection faster than this. A caller may wait for the close.
LEAVE_S = 0.05
# The server itself ends abandoned statements and transactions: a client that was stopped or cut off
# between two statements must not hold a lock that the tills need.
STATEMENT_S = 5
IDLE_IN_TRANSACTION_S = 5
# How often a busy server, or one that waits for a lock, checks that the client is connected.
STILL_THERE_MS = 500
# While a migration waits for a table lock, every claim queues behind it, so this is well below the
# time that a claim has. An export may hold the table for minutes, so the migration retries.
LOCK_TIMEOUT_MS = 300
LOCK_TRIES = 600
LOCK_PAUSE_S = 0.5


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """Closes quickly. SQLAlchemy would wait 2 s, also for a server that is unreachable."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await super().close(timeout=LEAVE_S)


def make_engine(
    database_url: str,
    *,
    connections_max: int = 10,
    pre_ping: bool = True,
    statement_s: int = STATEMENT_S,
) -> AsyncEngine:
    """A pool of at most `connections_max`. `driver` needs no `pre_ping`: it checks by itself."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=partial(
            asyncpg.connect,
            driver_url(database_url),
            connection_class=_Connection,
            timeout=CONNECT_S,
            server_settings={
                "application_name": "butie",
                "timezone": "UTC",
                # The statements rely on it, whatever the database's own default is.
                "default_transaction_isolation": "read committed",
                "statement_timeout": f"{statement_s}s",
                "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
                "client_connection_check_interval": f"{STILL_THERE_MS}ms",
            },
        ),
        pool_size=connections_max,
        max_overflow=0,
        pool_timeout=CONNECT_S,
        pool_use_lifo=True,
        pool_pre_ping=pre_ping,
        hide_parameters=True,  # personal data must not get into a log with an error
    )
    sa.event.listen(engine.sync_engine, "connect", _note_birth)
    return engine


def _note_birth(connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_BORN] = time.monotonic()


# Errors that mean: PostgreSQL is unreachable, broken or read-only (a standby). The statement itself
# is right.
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresSystemError,
)
# Errors that ask for a retry, when all retries have failed.
_CONTENDED = (asyncpg.LockNotAvailableError, asyncpg.TransactionRollbackError)

_BORN = "butie_born"
# When a connection of each engine last broke. After a failover an older connection may be dead and
# look alive, so none of them is used again.
_broke: WeakKeyDictionary[AsyncEngine, float] = WeakKeyDictionary()


def _cause(error: DBAPIError) -> BaseException | None:
    """The driver's own error."""
    return getattr(error.orig, "__cause__", None)


@asynccontextmanager
async def connect(
    engine: AsyncEngine, *, within_s: float | None = None
) -> AsyncIterator[AsyncConnection]:
    """A pooled connection in a transaction that commits at the end. Raises LedgerAway, also
    when it takes longer than `within_s` (by default ANSWER_S)."""
    try:
        async with asyncio.timeout(within_s or ANSWER_S), engine.connect() as connection:
            transaction = await connection.begin()
            try:
                yield connection
            except asyncio.CancelledError:
                await _drop(connection)  # a rollback would wait for a server that hangs
                raise
            except BaseException:
                await transaction.rollback()
                raise
            await transaction.commit()
    except (OSError, TimeoutError, PoolTimeout, OperationalError, InterfaceError) as error:
        raise LedgerAway("PostgreSQL did not answer") from error
    except DBAPIError as error:
        if error.connection_invalidated or isinstance(_cause(error), (*_AWAY, *_CONTENDED)):
            raise LedgerAway("PostgreSQL did not answer") from error
        raise
    except asyncpg.PostgresError as error:  # the server refuses the connection itself
        if isinstance(error, _AWAY):
            raise LedgerAway("no connection to PostgreSQL") from error
        raise


@asynccontextmanager
async def driver(
    engine: AsyncEngine, *, within_s: float | None = None
) -> AsyncIterator[asyncpg.Connection]:
    """A pooled asyncpg connection, for the claim path. SQLAlchemy's execution would cost more than
    these statements themselves.

    Raises NeverSent when there is no connection, LedgerAway when it broke or took longer than
    `within_s` (by default ANSWER_S).
    """
    pooled = None
    try:
        async with asyncio.timeout(within_s or ANSWER_S):
            pooled = await _live_connection(engine)
            yield pooled.driver_connection
    except (*_AWAY, asyncio.CancelledError) as error:
        if pooled is not None:
            _broke[engine] = time.monotonic()
            _abort(pooled)
        if isinstance(error, asyncio.CancelledError):
            raise
        away = NeverSent if pooled is None else LedgerAway
        raise away("PostgreSQL did not answer") from error
    except _CONTENDED as error:
        raise LedgerAway("PostgreSQL asks for it again and again") from error
    finally:
        # Also after it was aborted. It sends nothing, because SQLAlchemy has no transaction here.
        if pooled is not None:
            pooled.close()


async def _live_connection(engine: AsyncEngine) -> PoolProxiedConnection:
    """A connection that is not closed, and no older than the last one that broke. Raises
    NeverSent.

    Straight from the pool: SQLAlchemy's own connection object takes twice as long.
    """
    try:
        while True:
            pooled = await engine.raw_connection()
            raw = pooled.driver_connection
            assert raw is not None, "Bug! A connection that was just made is gone."
            broken = pooled.info[_BORN] < _broke.get(engine, 0.0)
            if not broken and not raw.is_closed():
                return pooled
            _abort(pooled)
            pooled.close()
    except (
        OSError,
        TimeoutError,
        PoolTimeout,
        DBAPIError,
        engine.dialect.loaded_dbapi.Error,  # not wrapped yet: the pool raises what the dialect does
        asyncpg.PostgresError,
    ) as error:
        raise NeverSent("no connection to PostgreSQL") from error


def _abort(pooled: PoolProxiedConnection) -> None:
    """Abort the connection. An orderly close would wait for a server that hangs."""
    if pooled.driver_connection is not None:
        pooled.driver_connection.terminate()
    pooled.invalidate()


async def _drop(connection: AsyncConnection) -> None:
    """Abort the connection. An orderly close would wait for a server that hangs."""
    if connection.invalidated:  # by SQLAlchemy, when the cancellation hit a statement
        return
    raw = (await connection.get_raw_connection()).driver_connection
    if raw is not None:
        raw.terminate()
    await connection.invalidate()


def migrate(database_url: str, revision: str = "head") -> None:
    """Bring the schema to `revision`; by default to this release's.

    Safe to run from several hosts at once, and while claims go on. It waits LOCK_TIMEOUT_MS for a
    locked table and then retries, LOCK_TRIES times in all. Raises LedgerAway when the table stays
    locked; migrations that are done stay. Raises Misconfigured when the ledger's schema is newer
    than this release.
    """
    # Imported here: it would be a tenth of every other command's start.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["database_url"] = driver_url(database_url)
    for _ in range(LOCK_TRIES):
        try:
            command.upgrade(config, revision)
            return
        except CommandError as error:
            if "locate revision" not in str(error):
                raise
            raise Misconfigured(
                "This ledger was made by a newer release of Butie: start that one, or give this "
                "one a ledger of its own (in the sandbox: another BUTIE_DATA_DIR)."
            ) from None
        except DBAPIError as error:
            if not isinstance(_cause(error), asyncpg.LockNotAvailableError):
                raise
            time.sleep(LOCK_PAUSE_S)
    raise LedgerAway("a table stays locked (pg_locks says by whom): migrate again later")
