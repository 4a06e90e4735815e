"""Redis or Valkey keeps what it is told until we say otherwise."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from service.doctor.check import Check, Finding, Patient, fault, ok, warning

REDIS_MIN = 7


async def _find(patient: Patient) -> AsyncIterator[Finding]:
    assert patient.gate is not None, "Bug! A check that needs the gate runs without it."
    if await _lets_strangers_in(patient.gate):
        yield warning(
            "it answers without the password of BUTIE_REDIS_URL, which protects nothing",
            "set requirepass in its file",
        )
    try:
        told = await patient.gate.info()
    except RedisError as error:
        yield Finding("unknown", f"it does not let itself be asked ({error})", "allow INFO")
        return
    for finding in judge(told):
        yield finding


async def _lets_strangers_in(gate: "redis.Redis") -> bool:
    """Whether one who does not tell the URL's password is answered all the same."""
    pool = gate.connection_pool
    if not pool.connection_kwargs.get("password"):
        return False
    nobody = pool.connection_kwargs | {"username": None, "password": None}
    stranger = redis.ConnectionPool(connection_class=pool.connection_class, **nobody)
    async with redis.Redis.from_pool(stranger) as client:
        try:
            return bool(await client.ping())
        except RedisError:
            return False


def judge(told: Mapping[str, Any]) -> list[Finding]:
    """What to say of a server that tells this of itself (INFO)."""
    return [*_server(told), *_memory(told), *_persistence(told)]


def _server(told: Mapping[str, Any]) -> list[Finding]:
    found = []
    # Valkey says which Redis it can stand in for, and its own version beside that.
    version = str(told.get("redis_version", "0"))
    name = f"Valkey {told['valkey_version']}" if "valkey_version" in told else f"Redis {version}"
    if int(version.split(".")[0]) < REDIS_MIN:
        found.append(fault(name, "Redis 7 or Valkey is needed"))
    if told.get("role") != "master":
        found.append(fault("this is a replica, which cannot be written to", "name the primary"))
    if told.get("cluster_enabled"):
        found.append(
            warning("a cluster: its nodes are not followed when slots move", "use one primary")
        )
    return [*found, ok(name)]


def _memory(told: Mapping[str, Any]) -> list[Finding]:
    policy, limit = told.get("maxmemory_policy"), int(told.get("maxmemory", 0))
    if policy != "noeviction":
        return [
            fault(
                f"maxmemory-policy is {policy}: what the gate remembers may go at any moment",
                "CONFIG SET maxmemory-policy noeviction, and in the file",
            )
        ]
    if not limit:
        return [warning("maxmemory has no limit", "set one, so that the host does not run out")]
    if int(told.get("used_memory", 0)) > 0.8 * limit:
        return [warning("more than four fifths of maxmemory are used", "raise it")]
    return [ok("maxmemory-policy is noeviction")]


def _persistence(told: Mapping[str, Any]) -> list[Finding]:
    for name, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "log")):
        if told.get(name, "ok") != "ok":
            return [
                fault(f"the last {what} could not be written: writes are refused", "see its log")
            ]
    kept = "an append-only file" if told.get("aof_enabled") else "no append-only file"
    return [ok(f"{kept}; none is needed, the gate fills itself from the ledger")]


CHECK = Check("redis", _find, needs="gate")
