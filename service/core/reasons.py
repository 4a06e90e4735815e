"""Why a line was refused: stable codes, and the facts that a sentence needs.

A refusal is a value. Its code is part of the API and is never renamed; the
sentence that a cashier reads is made at the edge, in the cashier's language
(`service.core.sentences`).
"""

from dataclasses import dataclass, field
from enum import StrEnum


class ReasonCode(StrEnum):
    OUTSIDE_WINDOW = "outside_window"
    CATEGORY_NOT_COVERED = "category_not_covered"
    GRADE_REQUIRED = "grade_required"
    GRADE_NOT_ELIGIBLE = "grade_not_eligible"
    PRICE_OVER_LIMIT = "price_over_limit"
    PRICE_TOO_LOW = "price_too_low"
    BELOW_LOWEST_TIER = "below_lowest_tier"
    TRADE_IN_REQUIRED = "trade_in_required"
    AGE_NOT_ELIGIBLE = "age_not_eligible"
    AREA_REQUIRED = "area_required"
    QUOTA_USED = "quota_used"
    SERIAL_ALREADY_CLAIMED = "serial_already_claimed"
    BUDGET_EXHAUSTED = "budget_exhausted"
    STORE_NOT_ENROLLED = "store_not_enrolled"
    SOLD_TOO_LONG_AGO = "sold_too_long_ago"
    SOLD_IN_FUTURE = "sold_in_future"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why one line gets nothing.

    `variant` picks between sentences of one code ("missing", "too_recent");
    `facts` fill the sentence's gaps: amounts in fen end in `_fen`, days in `_on`.
    """

    code: ReasonCode
    variant: str = ""
    facts: dict[str, str | int] = field(default_factory=dict)
