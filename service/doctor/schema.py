"""The schema is the one of this release, with complete indexes and valid constraints."""

from collections.abc import AsyncIterator

import asyncpg

from service.doctor.check import CheckResult, Patient, fault, ok, warning
from service.ops.health import released_revision

_BROKEN = """
SELECT string_agg(indexrelid::regclass::text, ', ')
FROM pg_index JOIN pg_class AS c ON c.oid = indrelid
WHERE NOT indisvalid AND c.relnamespace = 'public'::regnamespace
"""
_UNVALIDATED = """
SELECT string_agg(conname, ', ') FROM pg_constraint
WHERE NOT convalidated AND connamespace = 'public'::regnamespace
"""


async def check_schema(patient: Patient) -> AsyncIterator[CheckResult]:
    head = released_revision()
    try:
        at = await patient.ask("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        at = None
    if at is None:
        yield fault("the ledger is empty: there is no schema in it", "run `butie migrate`")
        return
    if at < head:
        yield fault(f"the schema is at {at}, this release is at {head}", "run `butie migrate`")
        return
    if at > head:
        yield warning(f"the schema is at {at}, newer than this release", "roll out the newer one")
    else:
        yield ok(f"the schema is at {at}, as this release")
    if broken := await patient.ask(_BROKEN):
        yield fault(f"an index is incomplete: {broken}", "REINDEX INDEX CONCURRENTLY")
    if unvalidated := await patient.ask(_UNVALIDATED):
        yield warning(f"not validated: {unvalidated}", "ALTER TABLE … VALIDATE CONSTRAINT")
