"""The worked cases that stand as data beside this file: a clerk may read and extend them."""

from typing import Any

import pytest

from service.core.quote import LineQuote, quote
from service.core.reason_sentences import sentence
from service.policies import read_book
from tests.core.worked_cases import checkout, fen, worked_cases

BOOK = read_book("330402")
KEYS = {
    *("case", "category", "grade", "price", "sold_on", "trade_in", "buyer"),
    *("subsidy", "refused", "takes"),
}


def answer(line: LineQuote) -> str | int:
    if line.reasons:
        return " ".join("/".join(filter(None, (r.code, r.variant))) for r in line.reasons)
    return line.subsidy_fen


@pytest.mark.parametrize(("case", "policy"), worked_cases())
def test_worked_case_is_answered_as_written(case: dict[str, Any], policy: str) -> None:
    assert case.keys() <= KEYS, "an unknown key would be a case that tests nothing"
    sale = checkout(case)
    answered = quote(BOOK, sale, now=sale.sold_at)
    (line,) = answered.lines
    assert answered.policy == policy
    assert answer(line) == (case["refused"] if "refused" in case else fen(case["subsidy"]))
    assert all(sentence(reason, "zh") != sentence(reason, "en") for reason in line.reasons)
    if "takes" in case:
        right = line.quotas[0]
        taken = {"quota": right.quota, "period": right.period, "limit": right.limit}
        assert taken == case["takes"]


def test_every_scheme_has_worked_cases() -> None:
    covered = {(policy, case["category"]) for case, policy in (p.values for p in worked_cases())}
    for policy in BOOK.policies:
        for scheme in policy.schemes.values():
            assert any((policy.id, category) in covered for category in scheme.categories)
