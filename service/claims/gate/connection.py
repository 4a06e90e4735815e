"""The gate's connections to Redis."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hiredis
import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from service.claims.outcomes import GateAway

# Longer than any healthy answer (a script call takes a millisecond), and so short that a stopped
# Redis hardly delays a claim.
TIMEOUT_S = 0.25

REASONS: dict[type[Exception], str] = {
    ReadOnlyError: "Redis takes no writes: it is a read-only replica",
    OutOfMemoryError: "Redis takes no writes: it is out of memory",
    BusyLoadingError: "Redis is loading its data",
    AuthenticationError: "Redis refuses the password of BUTIE_REDIS_URL",
    NoPermissionError: "Redis does not permit its user the gate's commands",
}
# By the first word of an answer for which redis-py has no exception.
REFUSALS = {
    "MISCONF": "Redis takes no writes: it cannot save its data to disk",
    "NOREPLICAS": "Redis takes no writes: it has too few replicas",
}

_GREET = (Path(__file__).parent / "greet.lua").read_text()
_RUN_ID = re.compile(rb"run_id:(\w+)")


def open_client(redis_url: str, memory_key: str) -> redis.Redis:
    """A client whose connections run greet.lua first, on the gate's `memory` hash."""

    async def greet(connection: Any) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        run = _RUN_ID.search(await connection.read_response())
        assert run is not None, "Bug! Every server has a run id."
        await connection.send_command("EVAL", _GREET, 1, memory_key, run[1])
        await connection.read_response()

    pool = redis.ConnectionPool.from_url(
        redis_url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        # A command that is sent twice may count twice, so the client repeats none.
        retry=Retry(NoBackoff(), 0),
        redis_connect_func=greet,
    )
    pool.connection_class = _packing_in_c(pool.connection_class)
    return redis.Redis.from_pool(pool)


def _packing_in_c(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """The same connection class, packing commands with hiredis. redis-py does so in its synchronous
    client only. In Python, packing some hundred keys a call takes 1 % of a claim's CPU time."""

    class Packing(kind):  # type: ignore[valid-type, misc]
        def pack_command(self, *args: Any) -> list[bytes]:
            words = args[0].split()  # "SCRIPT LOAD" is two
            return [hiredis.pack_command((*words, *args[1:]))]

    return Packing


@contextmanager
def as_gate_away() -> Iterator[None]:
    """Turns every error of Redis, also an error that it answers, into GateAway."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise GateAway(_reason(error)) from error


def _reason(error: Exception) -> str:
    for kind, reason in REASONS.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, ResponseError):
        return REFUSALS.get(str(error).partition(" ")[0], "Redis refuses the gate's commands")
    return "Redis does not answer"
