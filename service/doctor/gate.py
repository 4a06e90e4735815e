"""Redis or Valkey keeps every key until we delete it or it expires, and asks for a password."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from service.doctor.check import CheckResult, Patient, fault, ok, warning

REDIS_MIN = 7


async def check_gate(patient: Patient) -> AsyncIterator[CheckResult]:
    assert patient.gate is not None, "Bug! A check that needs the gate runs without it."
    if await _needs_no_password(patient.gate):
        yield warning(
            "it answers without the password of BUTIE_REDIS_URL, which protects nothing",
            "set requirepass in its file",
        )
    try:
        info = await patient.gate.info()
    except RedisError as error:
        yield CheckResult("unknown", f"it refuses INFO ({error})", "allow INFO")
        return
    for result in judge(info):
        yield result


async def _needs_no_password(gate: "redis.Redis") -> bool:
    """Whether it answers a client that does not send the URL's password."""
    pool = gate.connection_pool
    if not pool.connection_kwargs.get("password"):
        return False
    anonymous = pool.connection_kwargs | {"username": None, "password": None}
    stranger = redis.ConnectionPool(connection_class=pool.connection_class, **anonymous)
    async with redis.Redis.from_pool(stranger) as client:
        try:
            return bool(await client.ping())
        except RedisError:
            return False


def judge(info: Mapping[str, Any]) -> list[CheckResult]:
    """The results for a server with this INFO."""
    return [*_server(info), *_memory(info), *_persistence(info)]


def _server(info: Mapping[str, Any]) -> list[CheckResult]:
    results = []
    # Valkey gives its own version besides that of the Redis it is compatible with.
    version = str(info.get("redis_version", "0"))
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    if int(version.split(".")[0]) < REDIS_MIN:
        results.append(fault(name, "Redis 7 or Valkey is needed"))
    if info.get("role") != "master":
        results.append(fault("this is a replica, which cannot be written to", "name the primary"))
    if info.get("cluster_enabled"):
        results.append(
            warning("a cluster: its nodes are not followed when slots move", "use one primary")
        )
    return [*results, ok(name)]


def _memory(info: Mapping[str, Any]) -> list[CheckResult]:
    policy, limit = info.get("maxmemory_policy"), int(info.get("maxmemory", 0))
    if policy != "noeviction":
        return [
            fault(
                f"maxmemory-policy is {policy}: the gate may lose keys at any moment",
                "CONFIG SET maxmemory-policy noeviction, and in the file",
            )
        ]
    if not limit:
        return [warning("maxmemory has no limit", "set one, so that the host does not run out")]
    if int(info.get("used_memory", 0)) >= limit:
        return [fault("all of maxmemory is used: writes are refused", "raise it")]
    if int(info.get("used_memory", 0)) > 0.8 * limit:
        return [warning("more than four fifths of maxmemory are used", "raise it")]
    return [ok("maxmemory-policy is noeviction")]


def _persistence(info: Mapping[str, Any]) -> list[CheckResult]:
    for name, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "log")):
        if info.get(name, "ok") != "ok":
            return [
                fault(f"the last {what} could not be written: writes are refused", "see its log")
            ]
    persistence = "an append-only file" if info.get("aof_enabled") else "no append-only file"
    return [ok(f"{persistence}; none is needed, the gate fills itself from the ledger")]
