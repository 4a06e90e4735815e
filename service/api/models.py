"""Wire models that are no domain records. Amounts are in fen, rates in basis points."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from service.api.problems import ProblemReason
from service.claims.claim import Claim
from service.core.checkout import ITEMS_MAX
from service.core.forecast import Outlook
from service.pools.budgets import Budget


def _each_once(lines: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(lines)) != len(lines):
        raise PydanticCustomError("duplicate_line_no", "a line stands there twice")
    return lines


# Some lines of a claim, each once.
LineNumbers = Annotated[
    tuple[Annotated[int, Field(ge=1, le=999)], ...],
    Field(min_length=1, max_length=ITEMS_MAX),
    AfterValidator(_each_once),
]


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """The subsidy of one item, or the reasons why it gets none."""

    line_no: int
    category: str
    eligible: bool
    price_fen: int
    rate_bp: int | None
    cap_fen: int | None
    subsidy_fen: int
    payable_fen: int
    pool: str | None
    reasons: list[ProblemReason]


@dataclass(frozen=True, slots=True)
class QuoteAnswer:
    """The subsidy of a checkout now. A claim is granted whole or not at all; `eligible` says
    whether this one would be granted."""

    policy: str | None
    eligible: bool
    price_fen: int
    subsidy_fen: int
    payable_fen: int
    lines: list[QuoteLine]


@dataclass(frozen=True, slots=True)
class InFlight:
    """The claim is being decided now: ask again."""

    state: Literal["in_flight"]


@dataclass(frozen=True, slots=True)
class ClaimPage:
    """A page of claims, newest first. `next_cursor` asks for the next one; null: there is none. By
    `invoiced` or `red_letter_missing` a page may be short, or empty, though there is a next one."""

    claims: Sequence[Claim]
    next_cursor: UUID | None


@dataclass(frozen=True, slots=True)
class Budgets:
    """Every pool, from the ledger."""

    budgets: Sequence[Budget]


@dataclass(frozen=True, slots=True)
class PoolOutlook:
    """The day on which a pool is first empty. A tranche counts from the day that it opens.

    The pool is empty before `earliest_on` with a probability of 10 %, by `median_on` of 50 %, by
    `latest_on` of 90 %. Null means: not before `ends_on`, the policy's last day. `daily_fen` is the
    burn of a usual day, from the last `days` whole days of history (at most 56; a short history
    makes the range wide).

    `outlook`: `runs_out` (probability 50 % or more); `may_run_out` (10 % or more); `lasts`;
    `empty` now; `idle`: no claims now; `too_early`: not one whole day of history; `no_policy`: no
    policy in force today pays from this pool."""

    pool: str
    made_at: datetime
    outlook: Outlook
    earliest_on: date | None
    median_on: date | None
    latest_on: date | None
    ends_on: date | None
    daily_fen: int
    days: int
