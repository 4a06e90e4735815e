"""Numbers, days and totals of invoices in the spellings that papers have."""

from datetime import date

import pytest

from service.invoices.paper import day_of, fen_of, folded, number_fault


@pytest.mark.parametrize(
    "spelling",
    [
        "25332000000012345678",
        " 2533 2000 0000 1234 5678",
        "２５３３２０００００００１２３４５６７８",
        "2533\u00a02000\u300000001234\t5678",
    ],
)
def test_spellings_of_one_number_are_one_number(spelling: str) -> None:
    assert folded(spelling) == "25332000000012345678"


@pytest.mark.parametrize(
    ("number", "code", "fault"),
    [
        ("25332000000012345678", "", None),
        ("25332000000012345678", "033022000313", "invoice_code_extra"),
        ("24332000000012345678", "", "invoice_year"),
        ("12345678", "0330220003", None),
        ("12345678", "033022000313", None),
        ("12345678", "", "invoice_code"),
        ("12345678", "03302200031", "invoice_code"),
        ("1234567", "033022000313", "invoice_number"),
        ("2533200000001234567", "", "invoice_number"),
        ("N9", "", "invoice_number"),
        ("", "", "invoice_number"),
    ],
)
def test_a_number_is_of_20_digits_or_of_8_with_a_code(
    number: str, code: str, fault: str | None
) -> None:
    assert number_fault(number, code, 2025) == fault


@pytest.mark.parametrize(
    "text",
    [
        "2025-06-18",
        "20250618",
        "2025年06月18日",
        "2025年6月18日",
        "2025-06-18 10:15:00",
        "2025-06-18T10:15:00",
        "2025/6/18",
    ],
)
def test_a_day_is_read_as_files_write_it(text: str) -> None:
    assert day_of(text) == date(2025, 6, 18)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2025-6-1 10:00:00", date(2025, 6, 1)),
        ("2025/6/2 0:05:00", date(2025, 6, 2)),
        ("2025 年 6 月 3 日", date(2025, 6, 3)),
        ("20250604101500", date(2025, 6, 4)),
        ("2025-06-05T00:00:00+08:00", date(2025, 6, 5)),
    ],
)
def test_the_time_of_day_is_never_taken_for_a_part_of_the_day(text: str, day: date) -> None:
    assert day_of(text) == day


@pytest.mark.parametrize(
    "text",
    ["", "18.06.2025", "2025-02-30", "today", "1750212000", "202511", "2025061899", "2025-06-181"],
)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"day|month|year"):
        day_of(text)


@pytest.mark.parametrize(
    ("text", "fen"),
    [
        ("1199.80", 119_980),
        ("¥1,199.80", 119_980),
        ("￥1199.8", 119_980),
        ("-0.50", -50),
        ("-¥5", -500),
        ("5999.000000", 599_900),
    ],
)
def test_yuan_become_fen(text: str, fen: int) -> None:
    assert fen_of(text) == fen


@pytest.mark.parametrize("text", ["", "¥", "1e3", "0.005", "1.2.3", "NaN", "--1", "伍仟元整"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        fen_of(text)
