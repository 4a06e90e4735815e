"""The policy files are valid, one is in force, and what they assume is confirmed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from service.config import Misconfigured
from service.core.assumptions import ConfirmationError, unconfirmed
from service.core.calendar import business_day
from service.core.policy_file import PolicyFileError
from service.doctor.check import Check, Finding, Patient, fault, ok, warning
from service.policies import read_book
from service.wiring import read_confirmations

# A policy that ends sooner needs a successor that people have had time to read.
AHEAD = timedelta(days=30)


async def _find(patient: Patient) -> AsyncIterator[Finding]:
    settings = patient.settings
    try:
        book = read_book(settings.jurisdiction, settings.policies_dir)
        left = unconfirmed(book, read_confirmations(settings), str(settings.confirmations))
    except (PolicyFileError, ConfirmationError, Misconfigured) as error:
        yield fault(str(error), "mend the file; `butie policy show` reads it again")
        return
    today = business_day(datetime.now(UTC) + settings.clock_offset)
    policy, later = book.on(today), book.on(today + AHEAD)
    if policy is None:
        yield fault(f"no policy is in force on {today}: every claim is refused", "add one")
    else:
        yield ok(f"{policy.id} is in force on {today}")
    if policy is not None and later is None:
        yield warning(f"nothing is in force on {today + AHEAD}", "prepare the next policy's file")
    if left:
        names = ", ".join(one.id for one in left[:3]) + (" and others" if len(left) > 3 else "")
        say = fault if settings.refuse_assumed else warning
        yield say(
            f"{len(left)} assumed values are not confirmed: {names}",
            "`butie policy assumptions --lines` gives the lines for BUTIE_CONFIRMATIONS",
        )


CHECK = Check("policies", _find)
