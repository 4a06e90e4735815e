"""This host and PostgreSQL agree on the time."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from service.doctor.check import Check, Finding, Patient, fault, ok, warning

# `sold_at` may lie five minutes ahead; claim ids and booking days come from this host's clock.
SKEW_MAX_S = 30
SKEW_SEEN_S = 2


async def _find(patient: Patient) -> AsyncIterator[Finding]:
    before = datetime.now(UTC)
    theirs = await patient.ask("SELECT clock_timestamp()")
    after = datetime.now(UTC)
    yield judge(before, theirs, after)


def judge(before: datetime, theirs: datetime, after: datetime) -> Finding:
    """What to say when PostgreSQL said `theirs` at some moment between the other two."""
    early, late = (before - theirs).total_seconds(), (theirs - after).total_seconds()
    skew_s = max(early, late, 0.0)
    said = f"this host and PostgreSQL are {skew_s:.1f} s apart"
    remedy = "let both follow the same time servers (chrony, NTP)"
    if skew_s > SKEW_MAX_S:
        return fault(said, remedy)
    return warning(said, remedy) if skew_s > SKEW_SEEN_S else ok(said)


CHECK = Check("clock", _find, needs="ledger")
