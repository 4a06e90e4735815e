"""Wire models of what is not a domain record already. Amounts in fen, rates in basis points."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from service.api.problems import ProblemReason
from service.claims.claim import Claim
from service.core.forecast import Outlook
from service.pools.budgets import Budget


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """What one item would get; where it gets nothing, why."""

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
    """What a checkout would get now. A claim is all or nothing: `eligible` says whether this
    one would be granted."""

    policy: str | None
    eligible: bool
    price_fen: int
    subsidy_fen: int
    payable_fen: int
    lines: list[QuoteLine]


@dataclass(frozen=True, slots=True)
class InFlight:
    """A claim that is being decided at this moment: ask again."""

    state: Literal["in_flight"]


@dataclass(frozen=True, slots=True)
class ClaimPage:
    """Some claims, newest first. `next_cursor` brings the next page; null: this is the last."""

    claims: Sequence[Claim]
    next_cursor: UUID | None


@dataclass(frozen=True, slots=True)
class Budgets:
    """Every pool as the ledger has it."""

    budgets: Sequence[Budget]


@dataclass(frozen=True, slots=True)
class PoolOutlook:
    """The day on which a pool is first empty, tranches counted from the day they open. It comes
    before `earliest_on` in one case of ten, by `median_on` in every second, by `latest_on` in nine
    of ten; null: not before the policy's last day, `ends_on`. `daily_fen` is the usual burn of
    a day, by the last `days` whole days of history (at most 56; few of them make the range wide).

    `outlook`: `runs_out` (in half of all cases or more), `may_run_out` (in a tenth or more),
    `lasts`; `empty` now; `idle`: nothing is being taken; `too_early`: no whole day to go by yet;
    `no_policy`: none in force today pays from this pool."""

    pool: str
    made_at: datetime
    outlook: Outlook
    earliest_on: date | None
    median_on: date | None
    latest_on: date | None
    ends_on: date | None
    daily_fen: int
    days: int
