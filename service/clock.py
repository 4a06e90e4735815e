"""The business clock: the real time, or the sandbox's, which runs beside it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Clock:
    """`offset` is what the business clock is ahead of the real one (mostly negative)."""

    offset: timedelta = timedelta(0)

    def now(self) -> datetime:
        """The business instant, in UTC, to the millisecond that a claim id can hold."""
        instant = datetime.now(UTC) + self.offset
        return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
