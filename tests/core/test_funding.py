"""Funding shares: whole fen, and together always the amount."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.funding import funding_shares

amounts = st.integers(-(10**14), 10**14)


@st.composite
def rates(draw: st.DrawFn) -> tuple[int, int, int, int]:
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=3, max_size=3)))
    return cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1], 10_000 - cuts[2]


@given(amount=amounts, rates_bp=rates())
def test_shares_sum_to_the_amount_and_each_is_within_a_fen(
    amount: int, rates_bp: tuple[int, int, int, int]
) -> None:
    shares = funding_shares(amount, rates_bp)
    assert sum(shares) == amount
    for share, rate in zip(shares, rates_bp, strict=True):
        assert abs(share * 10_000 - amount * rate) < 10_000


@given(amount=amounts, rates_bp=rates())
def test_a_refunds_shares_are_the_negative_of_its_grants(
    amount: int, rates_bp: tuple[int, int, int, int]
) -> None:
    given_back = funding_shares(-amount, rates_bp)
    assert given_back == tuple(-share for share in funding_shares(amount, rates_bp))


@pytest.mark.parametrize(
    ("amount", "shares"),
    [(119_980, (101_983, 5_999, 5_999, 5_999)), (1, (1, 0, 0, 0)), (10, (9, 1, 0, 0))],
)
def test_known_shares(amount: int, shares: tuple[int, ...]) -> None:
    assert funding_shares(amount, (8500, 500, 500, 500)) == shares
