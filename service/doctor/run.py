"""One visit: every check in turn, each on what it needs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncpg
import redis.asyncio as redis
from redis.exceptions import RedisError

from service.config import Settings
from service.db.engine import driver_url
from service.doctor import (
    certificates,
    clock,
    durability,
    gate,
    policies,
    postgres,
    schema,
    secrets,
    settings,
)
from service.doctor.check import Finding, Patient, fault

CHECKS = (
    settings.CHECK,
    secrets.CHECK,
    policies.CHECK,
    certificates.CHECK,
    postgres.CHECK,
    durability.CHECK,
    clock.CHECK,
    schema.CHECK,
    gate.CHECK,
)
PATIENCE_S = 5


@dataclass(frozen=True, slots=True)
class Engines:
    """What the doctor connects to; None where no URL is set."""

    database_url: str | None
    redis_url: str | None


async def visit(settings: Settings, engines: Engines) -> AsyncIterator[tuple[str, Finding]]:
    """(check, finding) of each check. Raises nothing for what is wrong with the patient."""
    async with AsyncExitStack() as stack:
        patient = await _meet(settings, engines, stack)
        for engine, why in (("PostgreSQL", patient.ledger_away), ("Redis", patient.gate_away)):
            if why:
                yield engine, fault(f"{engine} cannot be used: {why}", "start it, or mend its URL")
        for check in CHECKS:
            away = {"ledger": patient.ledger is None, "gate": patient.gate is None}
            if away.get(check.needs):
                yield check.name, Finding("unknown", "could not be looked at: its engine is away")
                continue
            try:
                async for finding in check.find(patient):
                    yield check.name, finding
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                yield check.name, Finding("unknown", f"could not be looked at: {error}")


async def _meet(settings: Settings, engines: Engines, stack: AsyncExitStack) -> Patient:
    ledger, ledger_away = None, "BUTIE_DATABASE_URL is not set"
    if engines.database_url is not None:
        try:
            ledger = await asyncpg.connect(
                driver_url(engines.database_url),
                timeout=PATIENCE_S,
                command_timeout=PATIENCE_S,
                server_settings={"application_name": "butie doctor"},
            )
            stack.push_async_callback(ledger.close, timeout=PATIENCE_S)
            ledger_away = ""
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
            ledger_away = str(error) or type(error).__name__
    gate, gate_away = None, "BUTIE_REDIS_URL is not set"
    if engines.redis_url is not None:
        client = redis.Redis.from_url(
            engines.redis_url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
        )
        stack.push_async_callback(client.aclose)
        try:
            await client.ping()
            gate, gate_away = client, ""
        except (RedisError, OSError) as error:
            gate_away = str(error) or type(error).__name__
    return Patient(
        settings, engines.database_url, engines.redis_url, ledger, ledger_away, gate, gate_away
    )
