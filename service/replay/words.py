"""Names of schemes, categories, grades and reasons in Chinese and English."""

from dataclasses import dataclass

from service.core.policy import Policy, PolicyBook
from service.core.reasons import ReasonCode

REASONS: dict[ReasonCode, tuple[str, str]] = {
    ReasonCode.OUTSIDE_WINDOW: ("不在补贴期", "outside the window"),
    ReasonCode.CATEGORY_NOT_COVERED: ("品类不在范围", "category not covered"),
    ReasonCode.GRADE_REQUIRED: ("缺少能效等级", "grade missing"),
    ReasonCode.GRADE_NOT_ELIGIBLE: ("能效等级不符", "grade not eligible"),
    ReasonCode.PRICE_OVER_LIMIT: ("超过限价", "price over the limit"),
    ReasonCode.PRICE_TOO_LOW: ("售价过低", "price too low"),
    ReasonCode.BELOW_LOWEST_TIER: ("低于最低档", "below the lowest tier"),
    ReasonCode.TRADE_IN_REQUIRED: ("旧车不符", "old vehicle missing"),
    ReasonCode.AGE_NOT_ELIGIBLE: ("年龄不符", "age not proved"),
    ReasonCode.AREA_REQUIRED: ("缺少面积", "area missing"),
    ReasonCode.QUOTA_USED: ("名额已用完", "quota used up"),
    ReasonCode.SERIAL_ALREADY_CLAIMED: ("序列号重复", "serial number claimed"),
    ReasonCode.BUDGET_EXHAUSTED: ("资金用完", "budget exhausted"),
    ReasonCode.STORE_NOT_ENROLLED: ("门店未备案", "store not enrolled"),
    ReasonCode.SOLD_TOO_LONG_AGO: ("销售过久", "sold too long ago"),
    ReasonCode.SOLD_IN_FUTURE: ("销售时间在后", "sold in the future"),
}
# What every replay must say about itself.
UNSEEN = (
    "账上只有已批准的补贴：当时未批准或未申领的销售不在推演之内，放宽的政策实际花费会更多。",
    "The ledger has only what was granted. Sales that were refused or never claimed are not "
    "seen: a wider policy would cost more than this.",
)


@dataclass(frozen=True, slots=True)
class Names:
    """By the replayed policy or, for what it does not have, by the ledger's policies."""

    policy: Policy
    book: PolicyBook

    def scheme(self, scheme: str) -> tuple[str, str]:
        for policy in self._policies():
            if scheme in policy.schemes:
                return policy.schemes[scheme].zh, policy.schemes[scheme].en
        return scheme, scheme

    def category(self, category: str) -> tuple[str, str]:
        for policy in self._policies():
            if category in policy.categories:
                return policy.categories[category].zh, policy.categories[category].en
        return category, category

    def _policies(self) -> tuple[Policy, ...]:
        return (self.policy, *reversed(self.book.policies))


def grade_name(grade: str) -> tuple[str, str]:
    match grade:
        case "":
            return "未报等级", "no grade sent"
        case "none":
            return "无等级", "no grade"
        case _:
            return f"{grade} 级", f"grade {grade}"
