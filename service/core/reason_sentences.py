"""Reasons as a cashier reads them: what is wrong, and what to do next.

The gaps are the reason's facts. Amounts (`_fen`) are written in yuan; of two sentences for
one reason the first whose gaps can all be filled is used. A rule's sentences are in its file; here
are those of reasons that the ledger and the directory give.
"""

from service.core.money import yuan
from service.core.reasons import Reason, ReasonCode
from service.core.rules import registry
from service.core.rules.subject import Sentences
from service.core.sentences import Language, Sentence

# Facts that are words of ours, as each language says them.
WORDS: dict[str, Sentence] = {
    "car": Sentence("旧汽车", "old car"),
    "e_bike": Sentence("旧电动自行车", "old e-bike"),
}

SENTENCES: Sentences = {
    **registry.SENTENCES,
    (ReasonCode.BUDGET_EXHAUSTED, ""): (
        Sentence(
            "该类补贴资金已用完，请按原价收款，或请顾客等候后续补贴通知。",
            "The money for this kind of subsidy is used up. Charge the full price, or ask the "
            "customer to wait for the next notice.",
        ),
    ),
    (ReasonCode.BUDGET_EXHAUSTED, "until"): (
        Sentence(
            "该类补贴本期资金已用完，下一期于 {opens_at}（北京时间）开放，"
            "请顾客届时再来，或按原价收款。",
            "This part of the money for this kind of subsidy is used up. The next part opens on "
            "{opens_at} (Beijing time): ask the customer to come back then, or charge the full "
            "price.",
        ),
    ),
    (ReasonCode.STORE_NOT_ENROLLED, ""): (
        Sentence(
            "该门店未参加补贴活动，请核对门店编号；编号无误请联系本企业的补贴负责人办理登记。",
            "This store is not enrolled. Check the store number; if it is right, have it enrolled "
            "by whoever handles subsidies in your company.",
        ),
    ),
    (ReasonCode.STORE_NOT_ENROLLED, "suspended"): (
        Sentence(
            "该门店的补贴资格已暂停，请按原价收款，并联系区经信商务局。",
            "This store is suspended. Charge the full price and call the commerce bureau.",
        ),
    ),
    (ReasonCode.STORE_NOT_ENROLLED, "retailer_suspended"): (
        Sentence(
            "本企业的补贴资格已暂停，请按原价收款，并联系区经信商务局。",
            "Your company is suspended. Charge the full price and call the commerce bureau.",
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
    return {name: _fact_text(name, fact, language) for name, fact in reason.facts.items()}


def _fact_text(name: str, fact: str | int, language: Language) -> str:
    if name.endswith("_fen"):
        return yuan(int(fact))
    if name == "kind":
        return WORDS[str(fact)].in_language(language)
    return str(fact)
