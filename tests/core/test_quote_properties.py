"""What holds for every checkout, whatever is on it."""

from datetime import date, datetime, time
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.core.calendar import SHANGHAI
from service.core.checkout import PRICE_MAX_FEN, Checkout
from service.core.policy import Policy
from service.core.quote import LineQuote, Quote, quote
from service.core.reason_sentences import sentence
from service.policies import read_book
from tests.builders import (
    SERIAL_FORMATS,
    item_json,
    make_checkout,
    old_bike_json,
    old_car_json,
    resident_id,
    serial,
    vin,
)

BOOK = read_book("330402")
CATEGORIES = sorted({category for policy in BOOK.policies for category in policy.categories})
# Prices on either side of every limit, cap and tier of the rules, and any other price.
EDGES = [1, 6, 7, 300_000, 333_333, 600_000, 1_000_000, 5_000_000, 10_000_000, 20_000_000]
PRICES = st.one_of(
    st.builds(lambda edge, step: max(1, edge + step), st.sampled_from(EDGES), st.integers(-2, 2)),
    st.integers(1, 30_000_000),
    st.integers(1, PRICE_MAX_FEN),
)
GRADES = st.sampled_from(["1", "2", "3", "4", "5", "none", None])
DAYS = st.dates(date(2024, 12, 30), date(2027, 1, 2))
TRADE_INS = st.sampled_from([None, old_bike_json(), old_car_json(), old_car_json(document_no=None)])


@st.composite
def items(draw: st.DrawFn, line_no: int = 1) -> dict[str, Any]:
    category = draw(st.sampled_from(CATEGORIES))
    number = draw(st.integers(0, 5))
    return item_json(
        line_no=line_no,
        category=category,
        price_fen=draw(PRICES),
        energy_grade=draw(GRADES),
        serial_no=vin(number) if SERIAL_FORMATS.get(category) == "vin" else serial(number),
        trade_in=draw(TRADE_INS),
    )


@st.composite
def checkouts(draw: st.DrawFn) -> Checkout:
    count = draw(st.integers(1, 20))
    birth = draw(st.dates(date(1930, 1, 1), date(2010, 1, 1)))
    sold_at = datetime.combine(draw(DAYS), draw(st.times()), tzinfo=SHANGHAI)
    return make_checkout(
        sold_at=sold_at.isoformat(),
        consumer={"id_type": "resident_id", "id_number": resident_id(1, f"{birth:%Y%m%d}")},
        items=[draw(items(line_no=number)) for number in range(1, count + 1)],
    )


def quoted(sale: Checkout) -> Quote:
    return quote(BOOK, sale, now=sale.sold_at)


@given(checkouts())
def test_a_subsidy_is_never_more_than_its_cap_or_its_price(sale: Checkout) -> None:
    for line in quoted(sale).lines:
        assert 0 <= line.subsidy_fen <= line.price_fen
        assert line.subsidy_fen <= (line.cap_fen or 0)


@given(checkouts())
def test_a_line_gets_something_or_reasons_and_never_both(sale: Checkout) -> None:
    for line in quoted(sale).lines:
        assert (line.subsidy_fen > 0) == (not line.reasons) == bool(line.quotas)


@given(checkouts())
def test_the_lines_make_the_total_and_the_price_is_what_is_paid_and_what_is_granted(
    sale: Checkout,
) -> None:
    answer = quoted(sale)
    assert answer.subsidy_fen == sum(line.subsidy_fen for line in answer.lines)
    assert answer.payable_fen + answer.subsidy_fen == answer.price_fen
    assert answer.price_fen == sum(item.price_fen for item in sale.items)
    assert [line.line_no for line in answer.lines] == [item.line_no for item in sale.items]


@given(checkouts())
def test_every_amount_is_a_whole_number(sale: Checkout) -> None:
    for line in quoted(sale).lines:
        amounts = [line.price_fen, line.subsidy_fen, line.payable_fen, line.rate_bp, line.cap_fen]
        rights = [number for use in line.quotas for number in (use.amount, use.limit)]
        assert {type(amount) for amount in [*amounts, *rights] if amount is not None} == {int}


@given(checkouts())
def test_a_percentage_is_exact_and_rounded_down(sale: Checkout) -> None:
    for line in quoted(sale).lines:
        if line.rate_bp is not None and line.cap_fen is not None and not line.reasons:
            exact = Fraction(line.price_fen * line.rate_bp, 10_000)
            assert line.subsidy_fen == min(exact // 1, line.cap_fen)


@given(items(), PRICES, DAYS)
def test_a_dearer_item_of_the_same_kind_never_gets_less(
    item: dict[str, Any], price_fen: int, day: date
) -> None:
    def line(price: int) -> LineQuote:
        sold_at = datetime.combine(day, time(12), tzinfo=SHANGHAI).isoformat()
        sale = make_checkout(sold_at=sold_at, items=[{**item, "price_fen": price}])
        return quoted(sale).lines[0]

    cheap, dear = map(line, sorted([item["price_fen"], price_fen]))
    if not cheap.reasons and not dear.reasons:
        assert cheap.subsidy_fen <= dear.subsidy_fen


@given(checkouts())
def test_every_reason_has_a_sentence_in_both_languages(sale: Checkout) -> None:
    for line in quoted(sale).lines:
        for reason in line.reasons:
            assert sentence(reason, "zh") != sentence(reason, "en")


@given(checkouts())
def test_the_same_checkout_gets_the_same_answer(sale: Checkout) -> None:
    assert quoted(sale) == quoted(sale.model_copy(deep=True))


@given(st.sampled_from(BOOK.policies), DAYS)
def test_at_most_one_policy_is_in_force_on_any_day(policy: Policy, day: date) -> None:
    assert not policy.covers(day) or BOOK.on(day) is policy
