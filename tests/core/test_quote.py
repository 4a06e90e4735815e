"""What the worked cases cannot show: time, several lines, what a line takes of a right."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from service.core.calendar import SHANGHAI
from service.core.policy import Policy, PolicyBook
from service.core.quote import QuotaUse, Quote, quote
from service.policies import read_book
from tests.builders import imei, item_json, make_checkout, old_car_json, resident_id, serial, vin

BOOK = read_book("330402")
SOLD_AT = datetime(2025, 6, 18, 10, 15, tzinfo=SHANGHAI)


def quoted(*items: dict[str, Any], late: timedelta = timedelta(0), **overrides: Any) -> Quote:
    sale = make_checkout(items=list(items) or [item_json()], **overrides)
    return quote(BOOK, sale, now=sale.sold_at + late)


def codes(answer: Quote) -> list[list[str]]:
    return [
        ["/".join(filter(None, (r.code, r.variant))) for r in line.reasons] for line in answer.lines
    ]


def car(**overrides: Any) -> dict[str, Any]:
    return item_json(
        **{
            "category": "fuel_car",
            "price_fen": 15_000_000,
            "energy_grade": None,
            "serial_no": vin(1),
            "trade_in": old_car_json(),
            **overrides,
        }
    )


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (timedelta(hours=72), []),
        (timedelta(hours=72, milliseconds=1), ["sold_too_long_ago"]),
        (-timedelta(minutes=5), []),
        (-timedelta(minutes=5, milliseconds=1), ["sold_in_future"]),
    ],
)
def test_a_sale_may_lie_72_hours_back_and_5_minutes_ahead(
    late: timedelta, expected: list[str]
) -> None:
    assert codes(quoted(late=late)) == [expected]


def test_the_day_of_sale_is_the_day_in_shanghai() -> None:
    assert quoted(sold_at="2024-12-31T16:00:00Z").policy == "nanhu-2025"
    assert quoted(sold_at="2024-12-31T15:59:59Z").policy is None
    assert quoted(sold_at="2025-12-31T16:00:00Z").policy == "national-2026"


def test_without_a_policy_nothing_else_is_said_of_a_line() -> None:
    answer = quoted(item_json(energy_grade="5"), sold_at="2024-06-18T10:00:00+08:00")
    assert codes(answer) == [["outside_window/no_policy"]]
    assert answer.lines[0].pool is None


def test_of_a_category_that_is_not_covered_nothing_else_is_said() -> None:
    answer = quoted(item_json(category="hair_dryer", energy_grade="5", price_fen=1))
    assert codes(answer) == [["category_not_covered"]]


def test_outside_the_window_of_its_scheme_nothing_else_is_said_of_a_line() -> None:
    phone = item_json(category="phone", price_fen=700_000)
    answer = quoted(phone, sold_at="2025-01-19T23:59:59+08:00")
    assert codes(answer) == [["outside_window"]]
    assert answer.lines[0].reasons[0].facts == {
        "sold_on": "2025-01-19",
        "from_on": "2025-01-20",
        "to_on": "2025-12-31",
    }


def test_a_line_reports_every_reason_at_once() -> None:
    old = old_car_json(document_no=None, owned_since="2025-03-01", serial_no=vin(1))
    answer = quoted(car(price_fen=4_000_000, trade_in=old), late=timedelta(days=4))
    assert codes(answer) == [
        [
            "sold_too_long_ago",
            "below_lowest_tier",
            "trade_in_required/document_missing",
            "trade_in_required/too_recent",
            "trade_in_required/same_serial",
        ]
    ]


def test_a_refused_line_keeps_its_rate_cap_and_pool_and_gets_nothing() -> None:
    (line,) = quoted(item_json(category="phone", price_fen=700_000)).lines
    assert (line.rate_bp, line.cap_fen, line.pool, line.scheme) == (1500, 50_000, *["digital"] * 2)
    assert (line.subsidy_fen, line.payable_fen, line.quotas) == (0, 700_000, ())


def test_a_fixed_sum_has_no_rate_and_its_sum_as_the_cap() -> None:
    (line,) = quoted(car()).lines
    assert (line.rate_bp, line.cap_fen, line.subsidy_fen) == (None, 1_000_000, 1_000_000)


def test_one_bad_line_refuses_the_whole_checkout_but_the_others_are_still_priced() -> None:
    bad = item_json(line_no=2, serial_no=serial(2), energy_grade="5")
    answer = quoted(item_json(), bad)
    assert answer.refused
    assert [line.subsidy_fen for line in answer.lines] == [119_980, 0]


def test_a_serial_that_stands_on_two_lines_is_refused_on_the_later_one() -> None:
    phone = item_json(category="phone", price_fen=100_000, serial_no="SN-A", imei=imei(1))
    twin = item_json(category="tablet", price_fen=100_000, serial_no=imei(1), line_no=7)
    answer = quoted(phone, twin)
    assert codes(answer) == [[], ["serial_already_claimed/same_sale"]]
    assert answer.lines[1].reasons[0].facts == {"first_line_no": 1}


def test_a_car_takes_of_the_buyers_right_and_of_the_old_cars() -> None:
    (line,) = quoted(car()).lines
    assert line.quotas == (
        QuotaUse("person", "cars", "2025", 1, 1, "items", True),
        QuotaUse("trade_in", "old_car", "2025", 1, 1, "items", True),
    )


def test_home_adaptation_takes_money_of_a_right_that_does_not_end_with_the_year() -> None:
    adapted = item_json(category="elderly_adaptation", price_fen=500_000)
    (line,) = quoted(adapted).lines
    assert line.quotas == (QuotaUse("person", "elderly", "all", 150_000, 2_000_000, "fen", True),)


def test_a_right_belongs_to_the_year_of_the_sale_in_shanghai() -> None:
    (line,) = quoted(sold_at="2025-12-31T16:30:00Z").lines
    assert line.quotas[0].period == "2026"


def test_who_was_born_on_29_february_completes_a_year_on_1_march() -> None:
    def turned_60(day: str) -> bool:
        buyer = {"id_type": "resident_id", "id_number": resident_id(1, "19640229")}
        adapted = item_json(category="elderly_adaptation")
        book = PolicyBook("330402", (_in_2022_to_2025(BOOK.policies[0]),))
        sale = make_checkout(consumer=buyer, items=[adapted], sold_at=f"{day}T10:00:00+08:00")
        return not quote(book, sale, sale.sold_at).refused

    assert not turned_60("2024-02-28")
    assert turned_60("2024-02-29")
    assert turned_60("2024-03-01")


def _in_2022_to_2025(policy: Policy) -> Policy:
    text = policy.model_dump_json(by_alias=True).replace("2025-01-01", "2022-01-01")
    return Policy.model_validate_json(text)


def test_half_up_rounding_is_one_field_of_the_policy() -> None:
    policy = BOOK.policies[0]
    rounding = policy.rounding.model_copy(update={"value": "half_up"})
    half_up = PolicyBook("330402", (policy.model_copy(update={"rounding": rounding}),))
    sale = make_checkout(items=[item_json(category="phone", price_fen=333_333)])
    assert quote(BOOK, sale, sale.sold_at).subsidy_fen == 49_999
    assert quote(half_up, sale, sale.sold_at).subsidy_fen == 50_000
