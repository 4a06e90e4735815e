"""The days that are replayed, and the days of the policy that they are laid on."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from service.config import Misconfigured
from service.core.calendar import start_of_day
from service.core.policy import Policy
from service.core.rules.window import SOLD_AGE_MAX, SOLD_AHEAD_MAX


@dataclass(frozen=True, slots=True)
class ReplayPeriod:
    """Sales from `first` to `last`, both inclusive. For the policy each sale lies `years` later."""

    first: date
    last: date
    years: int = 0

    @property
    def claimed_from(self) -> datetime:
        """No claim of these sales is older."""
        return start_of_day(self.first) - SOLD_AHEAD_MAX

    @property
    def ends(self) -> datetime:
        return start_of_day(self.last + timedelta(days=1))

    @property
    def claimed_until(self) -> datetime:
        """Every claim of these sales is older."""
        return self.ends + SOLD_AGE_MAX

    def covers(self, day: date) -> bool:
        return self.first <= day <= self.last

    def moved(self, day: date) -> date:
        """The day on which the policy judges a sale of this day."""
        if self.years == 0:
            return day
        if (day.month, day.day) == (2, 29):
            day = day.replace(day=28)
        return day.replace(year=day.year + self.years)


def laid_on(policy: Policy, first: date, last: date) -> ReplayPeriod:
    """The period, moved by whole years if no day of it is the policy's. Raises Misconfigured."""
    from_on, to_on = policy.in_force.from_on.value, policy.in_force.to_on.value
    for years in (0, from_on.year - first.year):
        period = ReplayPeriod(first, last, years)
        if period.moved(first) <= to_on and from_on <= period.moved(last):
            return period
    raise Misconfigured(
        f"{policy.id} is in force from {from_on} to {to_on}: no day from {first} to {last} is in "
        "it, in whatever year."
    )


def first_claim_id(instant: datetime) -> UUID:
    """The lowest id of a claim of this instant: ids begin with the time in milliseconds."""
    return UUID(int=round(instant.timestamp() * 1000) << 80)
