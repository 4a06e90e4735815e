"""The business clock: real time, or the sandbox's, which runs at the same speed."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """`offset` is business time minus real time; negative in a sandbox of the past."""

    offset: timedelta = timedelta(0)

    def now(self) -> datetime:
        """The business instant in UTC, cut to milliseconds: a claim id holds no more."""
        return EPOCH + timedelta(milliseconds=time.time_ns() // 1_000_000) + self.offset
