"""Query parameters: repeated and unknown ones are refused; days and instants bound a span."""

import re
from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from typing import Annotated, Protocol, TypeVar
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from service.core.calendar import DAY, parse_day, parse_instant, start_of_day
from service.core.checkout import Day

# A query decodes an unescaped plus sign as a space.
SPACE_FOR_PLUS = re.compile(r" (?=\d\d:\d\d$)")


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
StoreName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")]


class Days(Protocol):
    @property
    def from_on(self) -> date: ...
    @property
    def to_on(self) -> date: ...


SomeDays = TypeVar("SomeDays", bound=Days)


def in_order(days: SomeDays) -> SomeDays:
    """A model's validator: `from` is not after `to`."""
    if days.from_on > days.to_on:
        raise PydanticCustomError("days_reversed", "from is after to")
    return days


class Entries(BaseModel):
    """A query for entries of the journal. Refuses unknown parameters: a misspelt filter would
    select every entry."""

    model_config = ConfigDict(extra="forbid")

    from_on: Day = Field(alias="from", description="first booking day")
    to_on: Day = Field(alias="to", description="last booking day, included")
    retailer: Name | None = None
    store: StoreName | None = None

    _in_order = model_validator(mode="after")(in_order)


async def each_once(request: Request) -> None:
    """A dependency. Refuses a repeated parameter: all but one of its values would be ignored."""
    given = request.query_params
    repeated = [name for name in given if len(given.getlist(name)) > 1]
    if repeated:
        raise RequestValidationError(
            [{"type": "given_twice", "loc": ("query", name)} for name in repeated]
        )


def only(*names: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency. Refuses other parameters, and repeated ones. A misspelt filter would filter
    nothing."""

    async def check(request: Request) -> None:
        await each_once(request)
        unknown = sorted(request.query_params.keys() - set(names))
        if unknown:
            errors = [{"type": "extra_forbidden", "loc": ("query", name)} for name in unknown]
            raise RequestValidationError(errors)

    return check


def _claim_no(text: object) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise PydanticCustomError("claim_id", "no claim's id") from None


# A claim's id as a filter. What cannot be one is a slip; in a path it is answered as not there.
ClaimNo = Annotated[UUID, BeforeValidator(_claim_no)]


def _instant(text: object, *, days: int) -> datetime:
    try:
        if DAY.fullmatch(str(text)):
            day = parse_day(str(text))
            if not 2000 <= day.year <= 2100:
                raise ValueError
            return start_of_day(day) + timedelta(days=days)
        return parse_instant(SPACE_FOR_PLUS.sub("+", str(text)))
    except ValueError:
        raise PydanticCustomError("day_or_instant", "neither a day nor an instant") from None


def _start(text: object) -> datetime:
    return _instant(text, days=0)


def _end(text: object) -> datetime:
    return _instant(text, days=1)


# "2025-06-18" stands for the whole day, "2025-06-18T10:15:00+08:00" for that instant.
Start = Annotated[datetime, BeforeValidator(_start)]
End = Annotated[datetime, BeforeValidator(_end)]  # exclusive
