"""Every reason that can be given has a sentence in both languages, and no gap stays open."""

import re

import pytest

from service.core.reason_sentences import SENTENCES, sentence
from service.core.reasons import Reason, ReasonCode

CHINESE = re.compile("[一-鿿]")

# A reason for each code and variant, with the facts that its giver sends along.
GIVEN = [
    Reason(ReasonCode.OUTSIDE_WINDOW, "no_policy", {"sold_on": "2024-12-30"}),
    Reason(
        ReasonCode.OUTSIDE_WINDOW,
        facts={"sold_on": "2025-01-19", "from_on": "2025-01-20", "to_on": "2025-12-31"},
    ),
    Reason(ReasonCode.CATEGORY_NOT_COVERED, facts={"category": "hair_dryer"}),
    Reason(ReasonCode.GRADE_REQUIRED),
    Reason(ReasonCode.GRADE_REQUIRED, "none"),
    Reason(ReasonCode.GRADE_NOT_ELIGIBLE, facts={"grade": "3", "eligible": "1/2"}),
    Reason(ReasonCode.PRICE_OVER_LIMIT, facts={"limit_fen": 600_000}),
    Reason(ReasonCode.PRICE_TOO_LOW),
    Reason(ReasonCode.BELOW_LOWEST_TIER, facts={"lowest_fen": 5_000_000}),
    Reason(ReasonCode.TRADE_IN_REQUIRED, "missing", {"kind": "car"}),
    Reason(ReasonCode.TRADE_IN_REQUIRED, "wrong_kind", {"kind": "e_bike"}),
    Reason(ReasonCode.TRADE_IN_REQUIRED, "document_missing"),
    Reason(ReasonCode.TRADE_IN_REQUIRED, "owned_since_missing"),
    Reason(ReasonCode.TRADE_IN_REQUIRED, "too_recent", {"before_on": "2025-01-08"}),
    Reason(ReasonCode.TRADE_IN_REQUIRED, "same_serial"),
    Reason(ReasonCode.AGE_NOT_ELIGIBLE, facts={"age_min": 60}),
    Reason(ReasonCode.AGE_NOT_ELIGIBLE, "not_proved", {"age_min": 60}),
    Reason(ReasonCode.AREA_REQUIRED),
    Reason(ReasonCode.QUOTA_USED, facts={"limit": 3}),
    Reason(ReasonCode.QUOTA_USED, "fen", {"left_fen": 12_345, "limit_fen": 2_000_000}),
    Reason(ReasonCode.QUOTA_USED, "trade_in"),
    Reason(ReasonCode.SERIAL_ALREADY_CLAIMED),
    Reason(ReasonCode.SERIAL_ALREADY_CLAIMED, facts={"claim_id": "0197-abcd"}),
    Reason(ReasonCode.SERIAL_ALREADY_CLAIMED, "same_sale", {"first_line_no": 1}),
    Reason(ReasonCode.BUDGET_EXHAUSTED, facts={"pool": "digital"}),
    Reason(
        ReasonCode.BUDGET_EXHAUSTED, "until", {"pool": "digital", "opens_at": "2025-07-01 00:00"}
    ),
    Reason(ReasonCode.STORE_NOT_ENROLLED),
    Reason(ReasonCode.STORE_NOT_ENROLLED, "suspended"),
    Reason(ReasonCode.STORE_NOT_ENROLLED, "retailer_suspended"),
    Reason(ReasonCode.SOLD_TOO_LONG_AGO, facts={"hours_max": 72}),
    Reason(ReasonCode.SOLD_IN_FUTURE, facts={"minutes_max": 5}),
]


@pytest.mark.parametrize("reason", GIVEN, ids=lambda reason: f"{reason.code}/{reason.variant}")
def test_a_reason_has_a_whole_sentence_in_both_languages(reason: Reason) -> None:
    chinese, english = sentence(reason), sentence(reason, "en")
    assert CHINESE.search(chinese) and chinese.endswith("。")
    assert not CHINESE.search(english) and english.endswith(".")
    for text in (chinese, english):
        assert not re.search(r"[{}]", text)


def test_every_code_and_variant_with_a_sentence_is_tried_here() -> None:
    assert {(reason.code, reason.variant) for reason in GIVEN} == SENTENCES.keys()
    assert {reason.code for reason in GIVEN} == set(ReasonCode)


def test_both_languages_have_the_same_gaps() -> None:
    for sentences in SENTENCES.values():
        for words in sentences:
            assert set(re.findall(r"\{(\w+)\}", words.en)) == words.gaps()


def test_amounts_are_in_yuan_and_days_as_days() -> None:
    over = Reason(ReasonCode.PRICE_OVER_LIMIT, facts={"limit_fen": 600_000})
    left = Reason(ReasonCode.QUOTA_USED, "fen", {"left_fen": 12_345, "limit_fen": 2_000_000})
    recent = Reason(ReasonCode.TRADE_IN_REQUIRED, "too_recent", {"before_on": "2025-01-08"})
    assert "6,000.00 元" in sentence(over)
    assert "20,000.00 yuan" in sentence(left, "en") and "123.45" in sentence(left, "en")
    assert "2025-01-08" in sentence(recent)


def test_the_old_vehicle_is_named_in_the_cashiers_language() -> None:
    missing = Reason(ReasonCode.TRADE_IN_REQUIRED, "missing", {"kind": "e_bike"})
    assert "旧电动自行车" in sentence(missing)
    assert "old e-bike" in sentence(missing, "en")


def test_the_own_claim_of_a_serial_is_named_when_it_is_known() -> None:
    claimed = Reason(ReasonCode.SERIAL_ALREADY_CLAIMED, facts={"claim_id": "0197-abcd"})
    assert "0197-abcd" in sentence(claimed)
    assert sentence(claimed) != sentence(Reason(ReasonCode.SERIAL_ALREADY_CLAIMED))
