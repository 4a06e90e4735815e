"""Reasons as a cashier reads them: what is wrong, and what to do next.

The gaps are the reason's facts. Amounts (`_fen`) are written in yuan; of two sentences for
one reason the first whose gaps can all be filled is used.
"""

from string import Formatter
from typing import Literal, NamedTuple

from service.core.money import yuan
from service.core.reasons import Reason, ReasonCode

Language = Literal["zh", "en"]


class Sentence(NamedTuple):
    zh: str
    en: str

    def in_language(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en

    def gaps(self) -> frozenset[str]:
        return frozenset(name for _, name, _, _ in Formatter().parse(self.zh) if name)


# Facts that are words of ours, as each language says them.
WORDS: dict[str, Sentence] = {
    "car": Sentence("旧汽车", "old car"),
    "e_bike": Sentence("旧电动自行车", "old e-bike"),
}

C = ReasonCode
SENTENCES: dict[tuple[ReasonCode, str], tuple[Sentence, ...]] = {
    (C.OUTSIDE_WINDOW, "no_policy"): (
        Sentence(
            "{sold_on} 当天没有实施中的补贴政策，请核对销售日期；日期无误则按原价收款。",
            "No subsidy policy is in force on {sold_on}. Check the date of sale; if it is right, "
            "charge the full price.",
        ),
    ),
    (C.OUTSIDE_WINDOW, ""): (
        Sentence(
            "该品类的补贴期为 {from_on} 至 {to_on}，本单销售日期 {sold_on} 不在其中，"
            "请核对销售日期；日期无误则按原价收款。",
            "This category is subsidised from {from_on} to {to_on}, and the sale is of {sold_on}. "
            "Check the date of sale; if it is right, charge the full price.",
        ),
    ),
    (C.CATEGORY_NOT_COVERED, ""): (
        Sentence(
            "品类 {category} 不在补贴范围内，请核对品类代码；代码无误则按原价收款。",
            "The category {category} is not subsidised. Check the category code; if it is right, "
            "charge the full price.",
        ),
    ),
    (C.GRADE_REQUIRED, ""): (
        Sentence(
            "缺少能效或水效等级，请按商品能效标识填写等级后重试。",
            "The energy or water efficiency grade is missing. Enter the grade from the product's "
            "label and try again.",
        ),
    ),
    (C.GRADE_REQUIRED, "none"): (
        Sentence(
            "该品类须有能效或水效等级，不能填“无等级”，请按商品能效标识填写等级后重试。",
            "This category needs an energy or water efficiency grade; “none” is not accepted. "
            "Enter the grade from the product's label and try again.",
        ),
    ),
    (C.GRADE_NOT_ELIGIBLE, ""): (
        Sentence(
            "能效或水效 {grade} 级不予补贴，仅补贴 {eligible} 级，"
            "请核对能效标识，或请顾客改选商品。",
            "Efficiency grade {grade} is not subsidised, only {eligible}. Check the label, or "
            "offer the customer another product.",
        ),
    ),
    (C.PRICE_OVER_LIMIT, ""): (
        Sentence(
            "单价超过 {limit_fen} 元，不予补贴，请核对优惠后的最终售价，或请顾客改选商品。",
            "The price is above {limit_fen} yuan, the highest that is subsidised. Check the final "
            "price after discounts, or offer the customer another product.",
        ),
    ),
    (C.PRICE_TOO_LOW, ""): (
        Sentence(
            "售价过低，补贴不足一分钱，请核对售价；售价无误则按原价收款，不占用顾客的补贴资格。",
            "The price is so low that the subsidy is less than a fen. Check the price; if it is "
            "right, charge it in full, and the customer keeps the right to a subsidy.",
        ),
    ),
    (C.BELOW_LOWEST_TIER, ""): (
        Sentence(
            "新车价格低于 {lowest_fen} 元，不予补贴，请核对成交价；价格无误则按原价收款。",
            "The new car costs less than {lowest_fen} yuan, the lowest price that is subsidised. "
            "Check the price; if it is right, charge it in full.",
        ),
    ),
    (C.TRADE_IN_REQUIRED, "missing"): (
        Sentence(
            "该品类须交售{kind}，请填写{kind}信息后重试。",
            "The customer must hand in an {kind}. Enter the {kind} and try again.",
        ),
    ),
    (C.TRADE_IN_REQUIRED, "wrong_kind"): (
        Sentence(
            "交售的旧车种类不符，该品类须交售{kind}，请更正旧车信息后重试。",
            "The vehicle handed in is of the wrong kind: it must be an {kind}. Correct it and "
            "try again.",
        ),
    ),
    (C.TRADE_IN_REQUIRED, "document_missing"): (
        Sentence(
            "缺少旧车转让或报废凭证编号，请向顾客索取凭证，填写编号后重试。",
            "The number of the old car's transfer or scrapping paper is missing. Ask the customer "
            "for the paper, enter its number and try again.",
        ),
    ),
    (C.TRADE_IN_REQUIRED, "owned_since_missing"): (
        Sentence(
            "缺少旧车登记在顾客本人名下的日期，请按机动车登记证书填写后重试。",
            "The day since which the old car stands in the customer's own name is missing. Enter "
            "it from the registration certificate and try again.",
        ),
    ),
    (C.TRADE_IN_REQUIRED, "too_recent"): (
        Sentence(
            "旧车须在 {before_on} 之前登记在顾客本人名下，"
            "请核对登记日期，或请顾客改用符合条件的旧车。",
            "The old car must have stood in the customer's own name before {before_on}. Check the "
            "day of registration, or ask for another old car.",
        ),
    ),
    (C.TRADE_IN_REQUIRED, "same_serial"): (
        Sentence(
            "旧车与新车的识别代号（车架号）相同，请核对并更正后重试。",
            "The old vehicle and the new one have the same number. Correct it and try again.",
        ),
    ),
    (C.AGE_NOT_ELIGIBLE, ""): (
        Sentence(
            "购买人须年满 {age_min} 周岁，可请符合年龄的家人凭本人身份证购买，否则按原价收款。",
            "The buyer must be {age_min} or older. A family member of that age may buy with their "
            "own resident ID; otherwise charge the full price.",
        ),
    ),
    (C.AGE_NOT_ELIGIBLE, "not_proved"): (
        Sentence(
            "该证件不能证明购买人年满 {age_min} 周岁，请改用居民身份证重试。",
            "This document does not prove that the buyer is {age_min} or older. Use a resident ID "
            "and try again.",
        ),
    ),
    (C.QUOTA_USED, ""): (
        Sentence(
            "该顾客在本品类的补贴资格（{limit} 件）已用完，请按原价收款；"
            "如有误，请顾客查询已享补贴记录。",
            "This customer has used up the right to a subsidy in this category (at most "
            "{limit}). Charge the full price; in doubt, the customer may ask for the record of "
            "past subsidies.",
        ),
    ),
    (C.QUOTA_USED, "fen"): (
        Sentence(
            "补贴额度累计 {limit_fen} 元，该顾客只剩 {left_fen} 元，不足以补贴本件，"
            "请改选补贴额不超过剩余额度的商品，或按原价收款。",
            "Of {limit_fen} yuan in all this customer has {left_fen} left, less than this item "
            "would take. Offer an item with a smaller subsidy, or charge the full price.",
        ),
    ),
    (C.QUOTA_USED, "trade_in"): (
        Sentence(
            "这辆旧车今年已用于申领补贴，不能再次使用，请核对旧车车架号，或请顾客改用其他旧车。",
            "This old car was already used for a subsidy this year. Check its number, or ask for "
            "another old car.",
        ),
    ),
    (C.SERIAL_ALREADY_CLAIMED, ""): (
        Sentence(
            "该序列号已由本企业申领补贴（单号 {claim_id}），请勿重复申领；"
            "如该笔有误，请先撤销或退货后重试。",
            "This serial number already has a subsidy of yours (claim {claim_id}). Do not claim "
            "again; if that claim is wrong, cancel or refund it first.",
        ),
        Sentence(
            "该序列号已享受过补贴，请核对商品序列号；核对无误则请顾客更换一件，或联系区经信商务局。",
            "This serial number was already subsidised. Check it against the product; if it is "
            "right, hand over another piece or call the commerce bureau.",
        ),
    ),
    (C.SERIAL_ALREADY_CLAIMED, "same_sale"): (
        Sentence(
            "该序列号与本单第 {first_line_no} 行重复，请逐件扫描商品序列号后重试。",
            "This serial number is the same as on line {first_line_no} of this sale. Scan each "
            "piece and try again.",
        ),
    ),
    (C.BUDGET_EXHAUSTED, ""): (
        Sentence(
            "该类补贴资金已用完，请按原价收款，或请顾客等候后续补贴通知。",
            "The money for this kind of subsidy is used up. Charge the full price, or ask the "
            "customer to wait for the next notice.",
        ),
    ),
    (C.BUDGET_EXHAUSTED, "until"): (
        Sentence(
            "该类补贴本期资金已用完，下一期于 {opens_at}（北京时间）开放，"
            "请顾客届时再来，或按原价收款。",
            "This part of the money for this kind of subsidy is used up. The next part opens on "
            "{opens_at} (Beijing time): ask the customer to come back then, or charge the full "
            "price.",
        ),
    ),
    (C.STORE_NOT_ENROLLED, ""): (
        Sentence(
            "该门店未参加补贴活动，请核对门店编号；编号无误请联系本企业的补贴负责人办理登记。",
            "This store is not enrolled. Check the store number; if it is right, have it enrolled "
            "by whoever handles subsidies in your company.",
        ),
    ),
    (C.STORE_NOT_ENROLLED, "suspended"): (
        Sentence(
            "该门店的补贴资格已暂停，请按原价收款，并联系区经信商务局。",
            "This store is suspended. Charge the full price and call the commerce bureau.",
        ),
    ),
    (C.STORE_NOT_ENROLLED, "retailer_suspended"): (
        Sentence(
            "本企业的补贴资格已暂停，请按原价收款，并联系区经信商务局。",
            "Your company is suspended. Charge the full price and call the commerce bureau.",
        ),
    ),
    (C.SOLD_TOO_LONG_AGO, ""): (
        Sentence(
            "销售时间已超过 {hours_max} 小时，不能再申领，"
            "请核对收银机时间；时间无误请联系区经信商务局。",
            "The sale is more than {hours_max} hours old and can no longer be claimed. Check the "
            "till's clock; if it is right, call the commerce bureau.",
        ),
    ),
    (C.SOLD_IN_FUTURE, ""): (
        Sentence(
            "销售时间比现在晚 {minutes_max} 分钟以上，请校准收银机时间后重试。",
            "The sale lies more than {minutes_max} minutes ahead. Set the till's clock and try "
            "again.",
        ),
    ),
}


def sentence(reason: Reason, language: Language = "zh") -> str:
    """A reason in a cashier's language. Raises KeyError for a variant that has no sentence."""
    for words in SENTENCES[reason.code, reason.variant]:
        if words.gaps() <= reason.facts.keys():
            return words.in_language(language).format_map(_filled(reason, language))
    raise KeyError(f"Bug! {reason} has not the facts that its sentence needs.")


def _filled(reason: Reason, language: Language) -> dict[str, str]:
    return {name: _said(name, fact, language) for name, fact in reason.facts.items()}


def _said(name: str, fact: str | int, language: Language) -> str:
    if name.endswith("_fen"):
        return yuan(int(fact))
    if name == "kind":
        return WORDS[str(fact)].in_language(language)
    return str(fact)
