import pytest

from service.core.money import percent, share_fen, yuan


@pytest.mark.parametrize(
    ("amount_fen", "text"),
    [(0, "0.00"), (1, "0.01"), (199_999, "1,999.99"), (-50, "-0.50"), (-123_456, "-1,234.56")],
)
def test_an_amount_is_written_in_yuan(amount_fen: int, text: str) -> None:
    assert yuan(amount_fen) == text


@pytest.mark.parametrize(
    ("rate_bp", "text"), [(1500, "15 %"), (1250, "12.5 %"), (5, "0.05 %"), (10_000, "100 %")]
)
def test_a_rate_is_written_in_per_cent(rate_bp: int, text: str) -> None:
    assert percent(rate_bp) == text


def test_half_a_fen_goes_down_or_up_as_the_policy_says() -> None:
    assert share_fen(10, 1500, "down") == 1
    assert share_fen(10, 1500, "half_up") == 2
    assert share_fen(9, 1500, "half_up") == 1
