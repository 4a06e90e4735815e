"""One visit: every check in turn, each with the engine that it needs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncpg

from service.config import Settings
from service.doctor.certificates import check_certificates
from service.doctor.check import Check, CheckResult, Patient
from service.doctor.clock import check_clock
from service.doctor.durability import check_durability
from service.doctor.gate import check_gate
from service.doctor.meet import meet_gate, meet_ledger
from service.doctor.policies import check_policies
from service.doctor.postgres import check_postgres
from service.doctor.schema import check_schema
from service.doctor.secrets import check_secrets
from service.doctor.settings import check_settings

CHECKS = (
    Check("settings", check_settings),
    Check("secrets", check_secrets),
    Check("policies", check_policies),
    Check("certificates", check_certificates),
    Check("postgresql", check_postgres, needs="ledger"),
    Check("durability", check_durability, needs="ledger"),
    Check("clock", check_clock, needs="ledger"),
    Check("migrations", check_schema, needs="ledger"),
    Check("redis", check_gate, needs="gate"),
)


@dataclass(frozen=True, slots=True)
class EngineUrls:
    """The URLs to connect to; None where none is set."""

    database_url: str | None
    redis_url: str | None


async def visit(settings: Settings, engines: EngineUrls) -> AsyncIterator[tuple[str, CheckResult]]:
    """(check, result), often several of a check. A fault of the patient raises nothing."""
    async with AsyncExitStack() as stack:
        ledger = await meet_ledger(engines.database_url, stack)
        store = await meet_gate(engines.redis_url, stack)
        for engine, connection in (("PostgreSQL", ledger), ("Redis", store)):
            if isinstance(connection, CheckResult):
                yield engine, connection
        patient = Patient(
            settings,
            engines.database_url,
            engines.redis_url,
            None if isinstance(ledger, CheckResult) else ledger,
            None if isinstance(store, CheckResult) else store,
        )
        for check in CHECKS:
            away = {"ledger": patient.ledger is None, "gate": patient.gate is None}
            if away.get(check.needs):
                yield check.name, CheckResult("unknown", "not checked: its engine is away")
                continue
            try:
                async for result in check.run(patient):
                    yield check.name, result
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                yield check.name, CheckResult("unknown", f"not checked: {error}")
