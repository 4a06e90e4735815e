"""Connects to the engines, or says why that failed and what to do."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import redis.asyncio as redis
from redis.exceptions import AuthenticationError, RedisError

from service.db.away import driver_url
from service.doctor.check import CheckResult, fault

PATIENCE_S = 5
# The URL parameters that name a file. The drivers' errors do not say which file is missing.
FILES = ("sslrootcert", "sslcert", "sslkey", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


async def meet_ledger(url: str | None, stack: AsyncExitStack) -> asyncpg.Connection | CheckResult:
    """A connection that ends with `stack`, or why it failed."""
    if url is None:
        return _unset("PostgreSQL", "BUTIE_DATABASE_URL")
    try:
        ledger = await asyncpg.connect(
            driver_url(url),
            timeout=PATIENCE_S,
            command_timeout=PATIENCE_S,
            server_settings={"application_name": "butie doctor"},
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        return _away("PostgreSQL", "BUTIE_DATABASE_URL", url, error)
    stack.push_async_callback(ledger.close, timeout=PATIENCE_S)
    return ledger


async def meet_gate(url: str | None, stack: AsyncExitStack) -> "redis.Redis | CheckResult":
    """A client that ends with `stack`, or why it failed."""
    if url is None:
        return _unset("Redis", "BUTIE_REDIS_URL")
    client = redis.Redis.from_url(url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S)
    stack.push_async_callback(client.aclose)
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        return _away("Redis", "BUTIE_REDIS_URL", url, error)
    return client


def _unset(engine: str, setting: str) -> CheckResult:
    return fault(
        f"{engine} cannot be used: {setting} is not set",
        "set it, or start the sandbox (`butie serve`)",
    )


def _away(engine: str, setting: str, url: str, error: Exception) -> CheckResult:
    missing = ", ".join(_missing_files(url))
    if missing:
        return fault(
            f"{engine} cannot be used: {missing} is not there",
            f"put the file there, or correct its path in {setting}",
        )
    why = str(error) or type(error).__name__
    return fault(f"{engine} cannot be used: {why}", _remedy(setting, url, error))


def _missing_files(url: str) -> Iterator[str]:
    query = parse_qs(urlsplit(url).query)
    yield from (path for name in FILES for path in query.get(name, ()) if not Path(path).exists())


def _remedy(setting: str, url: str, error: Exception) -> str:
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        name = unquote(urlsplit(url).path.strip("/"))
        return f"make the database {name} (deploy/postgres/roles.sql), or name yours in {setting}"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return f"correct user or password in {setting}"
    if isinstance(error, AuthenticationError):
        return f"correct the password in {setting}"
    return f"start it, or correct {setting}"
