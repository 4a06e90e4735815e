"""Business days, which are days in Asia/Shanghai, and instants as text."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

# China keeps one time zone and no summer time: a fixed offset needs no zone database.
SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")

DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# RFC 3339. `datetime` alone reads much more: week days, no zone, no seconds.
RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def business_day(instant: datetime) -> date:
    return instant.astimezone(SHANGHAI).date()


def start_of_day(day: date) -> datetime:
    """The first instant of a business day."""
    return datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)


def parse_day(text: str) -> date:
    """A day as RFC 3339 writes it, and in no other way. Raises ValueError."""
    if not DAY.fullmatch(text):
        raise ValueError("not RFC 3339")
    return date.fromisoformat(text)


def parse_instant(text: str) -> datetime:
    """An RFC 3339 instant of the years 2000 to 2100, in UTC. Raises ValueError."""
    if not RFC_3339.fullmatch(text):
        raise ValueError("not RFC 3339")
    instant = datetime.fromisoformat(text.upper())
    # Near the ends of the calendar a change of time zone overflows.
    if not 2000 <= instant.year <= 2100:
        raise ValueError("the year must lie between 2000 and 2100")
    return instant.astimezone(UTC)
