"""How many items, or how much money, one person or one old vehicle may have."""

from collections.abc import Iterator
from typing import Literal

from service.core.fact import Count, Fact, Frozen
from service.core.money import yuan
from service.core.reasons import ReasonCode
from service.core.rules.subject import Cells, Mark, Sentences, TermsFault
from service.core.rules.window import InForce
from service.core.sentences import Sentence

Period = Literal["calendar_year", "all"]


class Quota(Frozen):
    """How many items, or how much money in fen, one subject may have in a period."""

    limit: Fact[Count]
    period: Period = "calendar_year"
    unit: Literal["items", "fen"] = "items"
    # Categories whose quota has one name share it; by default each has its own.
    name: str = ""
    # Money only: what becomes of a line that would pass what is left.
    over_limit: Fact[Literal["refuse"]] | None = None


class QuotaTerms(Frozen):
    """Every category needs a quota for the person who buys."""

    quota: Quota | None = None


def faults(terms: QuotaTerms, in_force: InForce) -> Iterator[TermsFault]:
    if terms.quota is None:
        yield None, "needs a quota"
    elif (terms.quota.unit == "fen") != (terms.quota.over_limit is not None):
        yield terms.quota.limit.id, "a quota in fen needs over_limit, and no other quota has it"


def cells(terms: QuotaTerms, mark: Mark) -> Cells:
    if terms.quota:
        yield "per person", quota_text(terms.quota, mark)


def quota_text(quota: Quota, mark: Mark) -> str:
    """A quota as the console writes it: "1 a year", "20,000.00 yuan in all"."""
    amount = f"{yuan(quota.limit.value)} yuan" if quota.unit == "fen" else str(quota.limit.value)
    period = "a year" if quota.period == "calendar_year" else "in all"
    beyond = (
        f", beyond: {quota.over_limit.text} {mark(quota.over_limit)}" if quota.over_limit else ""
    )
    return f"{amount} {period} {mark(quota.limit)}{beyond}"


SENTENCES: Sentences = {
    (ReasonCode.QUOTA_USED, ""): (
        Sentence(
            "该顾客在本品类的补贴资格（{limit} 件）已用完，请按原价收款；"
            "如有误，请顾客查询已享补贴记录。",
            "This customer has used up the right to a subsidy in this category (at most "
            "{limit}). Charge the full price; in doubt, the customer may ask for the record of "
            "past subsidies.",
        ),
    ),
    (ReasonCode.QUOTA_USED, "fen"): (
        Sentence(
            "补贴额度累计 {limit_fen} 元，该顾客只剩 {left_fen} 元，不足以补贴本件，"
            "请改选补贴额不超过剩余额度的商品，或按原价收款。",
            "Of {limit_fen} yuan in all this customer has {left_fen} left, less than this item "
            "would take. Offer an item with a smaller subsidy, or charge the full price.",
        ),
    ),
    (ReasonCode.QUOTA_USED, "trade_in"): (
        Sentence(
            "这辆旧车今年已用于申领补贴，不能再次使用，请核对旧车车架号，或请顾客改用其他旧车。",
            "This old car was already used for a subsidy this year. Check its number, or ask for "
            "another old car.",
        ),
    ),
}
