import pytest

from service.core.assumptions import ConfirmationError, assumptions, unconfirmed
from service.policies import read_book

BOOK = read_book("330402")
ALL = assumptions(BOOK)
EVERY_LINE = "\n".join(one.confirmation for one in ALL)


def test_every_assumed_value_is_listed_once_with_what_is_not_known() -> None:
    ids = [one.id for one in ALL]
    assert len(ids) == len(set(ids))
    assert all(one.note and one.value for one in ALL)
    assert {
        "nanhu-2025/rounding",
        "nanhu-2025/refund_restores_quota",
        "nanhu-2025/funding/province_bp",
        "nanhu-2025/home/quota/limit",
        "nanhu-2025/home/cookware/covered",
        "nanhu-2025/elderly/quota/over_limit",
        "national-2026/rounding",
        "national-2026/cars/trade_in/owned_before_on",
    } <= set(ids)


def test_the_twelve_categories_of_the_city_are_confirmed_one_by_one() -> None:
    assert len([one for one in ALL if one.id.startswith("nanhu-2025/appliances/")]) == 12


def test_without_confirmations_everything_is_open() -> None:
    assert unconfirmed(BOOK, "") == list(ALL)


def test_the_lines_as_printed_confirm_everything() -> None:
    assert unconfirmed(BOOK, EVERY_LINE) == []


def test_a_confirmation_holds_only_while_the_value_is_the_same() -> None:
    left = unconfirmed(BOOK, EVERY_LINE.replace("2025/rounding = down", "2025/rounding = half_up"))
    assert [one.id for one in left] == ["nanhu-2025/rounding"]


def test_comments_and_blank_lines_are_allowed() -> None:
    text = "# 经区经信商务局确认\n\n  nanhu-2025/rounding=down   # 2025-05-20\n"
    assert "nanhu-2025/rounding" not in {one.id for one in unconfirmed(BOOK, text)}


def test_a_value_that_two_policies_assume_is_confirmed_for_each() -> None:
    left = {one.id for one in unconfirmed(BOOK, "nanhu-2025/rounding = down")}
    assert "national-2026/rounding" in left


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nanhu-2025/rounding", "not of the form"),
        ("nanhu-2025/rounding = down or so", "not of the form"),
        ("= down", "not of the form"),
        ("nanhu-2025/roundings = down", "nanhu-2025/roundings is no assumed value"),
        ("nanhu-2025/appliances/cap_fen = 200000", "is no assumed value"),
    ],
)
def test_a_line_that_confirms_nothing_is_refused_with_its_number(line: str, reason: str) -> None:
    with pytest.raises(ConfirmationError) as refused:
        unconfirmed(BOOK, f"# first\n{line}\n", "confirmed.txt")
    (problem,) = refused.value.problems
    assert problem.startswith("confirmed.txt:2: ") and reason in problem
