"""The worked cases that stand as data beside this file: a clerk may read and extend them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.core.checkout import Checkout
from service.core.quote import LineQuote, quote
from service.core.reason_sentences import sentence
from service.policies import read_book
from tests.builders import (
    SERIAL_FORMATS,
    item_json,
    make_checkout,
    old_bike_json,
    old_car_json,
    resident_id,
    vin,
)

BOOK = read_book("330402")
FILES = sorted(Path(__file__).parent.glob("cases-*.yaml"))
KEYS = {
    *("case", "category", "grade", "price", "sold_on", "trade_in", "buyer"),
    *("subsidy", "refused", "takes"),
}


def worked_cases() -> list[Any]:
    return [
        pytest.param(
            {"sold_on": sheet["sold_on"], **case},
            sheet["policy"],
            id=f"{sheet['policy']}: {case['case']}",
        )
        for sheet in (yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES)
        for case in sheet["cases"]
    ]


def fen(yuan: str) -> int:
    return int(Decimal(yuan) * 100)


def trade_in(case: dict[str, Any], n: int) -> dict[str, Any] | None:
    told = case.get("trade_in", {})
    if told == "none":
        return None
    if SERIAL_FORMATS.get(case["category"]) == "vin":
        return old_car_json(**{"serial_no": vin(9_000_000 + n), **told})
    return old_bike_json(**told) if case["category"] == "e_bike" else None


def consumer(case: dict[str, Any], n: int) -> dict[str, str]:
    buyer = case.get("buyer", {})
    if buyer.get("document") == "passport":
        return {"id_type": "passport", "id_number": f"E{n:08d}"}
    birth = f"{buyer['birth']:%Y%m%d}" if "birth" in buyer else "19600307"
    return {"id_type": "resident_id", "id_number": resident_id(n, birth)}


def checkout(case: dict[str, Any], n: int = 1) -> Checkout:
    """The case as a sale. Another n: another buyer, piece of goods and old car."""
    item = item_json(
        category=case["category"],
        price_fen=fen(case["price"]),
        energy_grade=case.get("grade"),
        trade_in=trade_in(case, n),
        serial_no=vin(n) if SERIAL_FORMATS.get(case["category"]) == "vin" else f"SN-{n}",
    )
    return make_checkout(
        sold_at=f"{case['sold_on']}T10:15:00+08:00", consumer=consumer(case, n), items=[item]
    )


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
