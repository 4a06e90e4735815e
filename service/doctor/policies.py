"""The policy files are valid, one is in force, and its assumed values are confirmed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from service.config import Misconfigured
from service.core.assumptions import ConfirmationError, unconfirmed
from service.core.calendar import business_day
from service.core.policy_file import PolicyFileError
from service.doctor.check import CheckResult, Patient, fault, ok, warning
from service.policies import read_book
from service.wiring import read_confirmations

# A policy that ends sooner needs a successor that people still have time to read.
AHEAD = timedelta(days=30)
NAMED_MAX = 3


async def check_policies(patient: Patient) -> AsyncIterator[CheckResult]:
    settings = patient.settings
    try:
        book = read_book(settings.jurisdiction, settings.policies_dir)
        assumed = unconfirmed(book, read_confirmations(settings), str(settings.confirmations))
    except (PolicyFileError, ConfirmationError, Misconfigured) as error:
        yield fault(str(error), "correct the file; `butie policy show` reads it again")
        return
    today = business_day(datetime.now(UTC) + settings.clock_offset)
    policy, later = book.on(today), book.on(today + AHEAD)
    if policy is None:
        yield fault(f"no policy is in force on {today}: every claim is refused", "add one")
    else:
        yield ok(f"{policy.id} is in force on {today}")
    if policy is not None and later is None:
        yield warning(f"nothing is in force on {today + AHEAD}", "prepare the next policy's file")
    if assumed:
        names = ", ".join(value.id for value in assumed[:NAMED_MAX])
        names += " and others" if len(assumed) > NAMED_MAX else ""
        level = fault if settings.refuse_assumed else warning
        yield level(
            f"{len(assumed)} assumed values are not confirmed: {names}",
            "`butie policy assumptions --lines` gives the lines for BUTIE_CONFIRMATIONS",
        )
