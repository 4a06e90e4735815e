"""The figures on the budget page, before they are written in a language."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from service.core.forecast import Forecast
from service.core.sentences import Sentence


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """A pool on the page; amounts in fen. The next planned tranche opens at `next_opens_at`."""

    pool: str
    name: Sentence
    allocated_fen: int
    remaining_fen: int
    reserved_fen: int
    today_fen: int
    next_opens_at: datetime | None
    next_fen: int
    ends_on: date | None
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class BoardFigures:
    """The whole page at local time `at`. `line` is today's burn of all pools together, in fen.
    `usual_fen` is the burn of a usual day; None while it is not known."""

    at: datetime
    policy: Sentence | None
    pools: Sequence[PoolFigures]
    line: Sequence[tuple[datetime, int]]
    usual_fen: int | None
    claims_per_minute: int
    sandbox: bool
