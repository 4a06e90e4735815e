"""Business days: days in Asia/Shanghai."""

from datetime import date, datetime, timedelta, timezone

# China keeps one time zone and no summer time: a fixed offset needs no zone database.
SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")


def business_day(instant: datetime) -> date:
    return instant.astimezone(SHANGHAI).date()
