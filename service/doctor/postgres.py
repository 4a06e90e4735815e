"""PostgreSQL is a primary of a supported version, with enough connections for the service."""

from collections.abc import AsyncIterator

from service.doctor.check import CheckResult, Patient, fault, ok, warning
from service.wiring import connections_of

VERSION_MIN = 150000


async def check_postgres(patient: Patient) -> AsyncIterator[CheckResult]:
    version = int(await patient.ask("SHOW server_version_num"))
    if version < VERSION_MIN:
        yield fault(f"PostgreSQL {version // 10000}", "version 15 or later is needed")
    if await patient.ask("SELECT pg_is_in_recovery()"):
        yield fault("this is a standby, which cannot be written to", "name the primary in the URL")
    if await patient.ask("SHOW server_encoding") != "UTF8":
        yield fault("the database is not in UTF8", "create it again with ENCODING 'UTF8'")
    if await patient.ask("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        yield warning(
            "the service is a superuser, and could disable the triggers that protect the journal",
            "give it a role of its own that owns only its database",
        )
    room = int(await patient.ask("SHOW max_connections"))
    needed = connections_of(patient.settings.workers)
    if needed > room:
        yield fault(f"{needed} connections needed, {room} allowed", "raise max_connections")
    yield ok(f"PostgreSQL {await patient.ask('SHOW server_version')}, {room} connections")
    yield ok("extensions: none needed")
