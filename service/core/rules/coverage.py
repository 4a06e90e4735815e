"""No policy is in force on the day of sale, or it does not have the category."""

from datetime import date

from service.core.checkout import Item
from service.core.reasons import Reason, ReasonCode
from service.core.rules.subject import ReasonFacts, Sentences
from service.core.sentences import Sentence


def no_policy_in_force(sold_on: date) -> Reason:
    facts: ReasonFacts = {"sold_on": sold_on.isoformat()}
    return Reason(ReasonCode.OUTSIDE_WINDOW, "no_policy", facts)


def category_not_covered(item: Item) -> Reason:
    return Reason(ReasonCode.CATEGORY_NOT_COVERED, facts={"category": item.category})


SENTENCES: Sentences = {
    (ReasonCode.OUTSIDE_WINDOW, "no_policy"): (
        Sentence(
            "{sold_on} 当天没有实施中的补贴政策，请核对销售日期；日期无误则按原价收款。",
            "No subsidy policy is in force on {sold_on}. Check the date of sale; if it is right, "
            "charge the full price.",
        ),
    ),
    (ReasonCode.CATEGORY_NOT_COVERED, ""): (
        Sentence(
            "品类 {category} 不在补贴范围内，请核对品类代码；代码无误则按原价收款。",
            "The category {category} is not subsidised. Check the category code; if it is right, "
            "charge the full price.",
        ),
    ),
}
