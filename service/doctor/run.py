"""One visit: every check in turn, each on what it needs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncpg

from service.config import Settings
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
from service.doctor.check import Finding, Patient
from service.doctor.meet import meet_gate, meet_ledger

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


@dataclass(frozen=True, slots=True)
class Engines:
    """What the doctor connects to; None where no URL is set."""

    database_url: str | None
    redis_url: str | None


async def visit(settings: Settings, engines: Engines) -> AsyncIterator[tuple[str, Finding]]:
    """(check, finding) of each check. Raises nothing for what is wrong with the patient."""
    async with AsyncExitStack() as stack:
        ledger = await meet_ledger(engines.database_url, stack)
        store = await meet_gate(engines.redis_url, stack)
        for engine, met in (("PostgreSQL", ledger), ("Redis", store)):
            if isinstance(met, Finding):
                yield engine, met
        patient = Patient(
            settings,
            engines.database_url,
            engines.redis_url,
            None if isinstance(ledger, Finding) else ledger,
            None if isinstance(store, Finding) else store,
        )
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
