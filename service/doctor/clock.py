"""This host and PostgreSQL agree on the time."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from service.doctor.check import CheckResult, Patient, fault, ok, warning

# `sold_at` may lie five minutes ahead; claim ids and booking days come from this host's clock.
SKEW_MAX_S = 30
SKEW_SEEN_S = 2


async def check_clock(patient: Patient) -> AsyncIterator[CheckResult]:
    before = datetime.now(UTC)
    theirs = await patient.ask("SELECT clock_timestamp()")
    after = datetime.now(UTC)
    yield judge(before, theirs, after)


def judge(before: datetime, theirs: datetime, after: datetime) -> CheckResult:
    """The result if PostgreSQL's clock read `theirs` between two readings of ours."""
    early, late = (before - theirs).total_seconds(), (theirs - after).total_seconds()
    skew_s = max(early, late, 0.0)
    fact = f"this host and PostgreSQL are {skew_s:.1f} s apart"
    remedy = "let both follow the same time servers (chrony, NTP)"
    if skew_s > SKEW_MAX_S:
        return fault(fact, remedy)
    return warning(fact, remedy) if skew_s > SKEW_SEEN_S else ok(fact)
