"""The words that all dashboards share, in both languages. The policies have the names of goods."""

from dataclasses import dataclass
from typing import Literal

from service.policies import read_book

Language = Literal["zh", "en"]


@dataclass(frozen=True)
class Words:
    zh: str
    en: str

    def of(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


# Short, so that they can be read across a room. The policies' own names are longer.
POOLS = {
    "appliances": Words("家电", "Appliances"),
    "digital": Words("数码", "Digital"),
    "home": Words("家居", "Home goods"),
    "ebike": Words("电动自行车", "E-bikes"),
    "cars": Words("汽车", "Cars"),
    "elderly": Words("适老化改造", "Elderly"),
}
NAMES: dict[str, dict[str, Words]] = {
    "pool": POOLS,
    "code": {
        "outside_window": Words("不在政策期内", "Outside the policy's days"),
        "category_not_covered": Words("品类不在范围", "Category not covered"),
        "grade_required": Words("没有报能效等级", "Grade missing"),
        "grade_not_eligible": Words("能效等级不符", "Grade not eligible"),
        "price_over_limit": Words("价格超过上限", "Price over the limit"),
        "price_too_low": Words("价格过低", "Price too low"),
        "below_lowest_tier": Words("低于最低档", "Below the lowest tier"),
        "trade_in_required": Words("旧车材料不符", "Old vehicle not in order"),
        "age_not_eligible": Words("年龄不符", "Age not eligible"),
        "area_required": Words("没有报面积", "Area missing"),
        "quota_used": Words("个人资格已用完", "Personal quota used"),
        "serial_already_claimed": Words("序列号已领过", "Serial claimed already"),
        "budget_exhausted": Words("预算用完", "Budget exhausted"),
        "store_not_enrolled": Words("门店未备案或暂停", "Store not enrolled"),
        "sold_too_long_ago": Words("销售时间过久", "Sold too long ago"),
        "sold_in_future": Words("销售时间在将来", "Sold in the future"),
    },
    "outcome": {
        "granted": Words("已发放", "granted"),
        "replayed": Words("重复请求", "replayed"),
        "refused": Words("已拒绝", "refused"),
        "keyreused": Words("幂等键另用", "key reused"),
        "held": Words("已预留", "held"),
        "no_money": Words("因无预算被拒", "refused: no money"),
        "whole": Words("完整导出", "whole"),
        "left": Words("客户端中断", "client left"),
        "failed": Words("导出失败", "failed"),
    },
    "kind": {"grant": Words("发放", "granted"), "refund": Words("退回", "refunded")},
    "age": {
        "week": Words("7 天以内", "up to 7 days"),
        "month": Words("8 至 30 天", "8 to 30 days"),
        "older": Words("30 天以上", "over 30 days"),
    },
    "mode": {
        "guarding": Words("正常（闸口在前）", "guarding"),
        "bypassed": Words("绕过闸口（只靠账本）", "bypassed: ledger alone"),
        "refusing": Words("无闸口，拒绝申请", "refusing"),
    },
    "how": {
        "confirmed": Words("确认", "confirmed"),
        "cancelled": Words("取消", "cancelled"),
        "expired": Words("过期", "expired"),
    },
    "fate": {
        "committed": Words("已入账", "committed"),
        "given_up": Words("已放弃", "given up"),
    },
    "town": {
        "none": Words("未填写", "not stated"),
        "others": Words("其他", "others"),
    },
    "queue": {},
}
UNKNOWN = Words("未知品类", "unknown category")


def names(language: Language, label: str) -> dict[str, str]:
    """The name of each value of a label; empty when the values need no name."""
    named = _categories() if label == "category" else NAMES.get(label, {})
    return {value: words.of(language) for value, words in named.items()}


def _categories() -> dict[str, Words]:
    """The categories of all policies. Where names differ, the newest policy's is used."""
    return {"unknown": UNKNOWN} | {
        category.id: Words(category.zh, category.en)
        for policy in read_book("330402", None).policies
        for category in policy.categories.values()
    }
