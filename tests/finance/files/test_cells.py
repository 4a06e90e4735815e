"""Cells as spreadsheets and platforms spell them."""

from datetime import date
from typing import Any

import pytest

from service.finance.files.cells import fen_of, has_lost_digits, is_error, text_of


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("T1", "T1"),
        (" \u00a0T1\u3000", "T1"),
        ("\ufeffT1\u200b", "T1"),
        ("'T1", "T1"),
        ("`T1", "T1"),
        ('="202506180000123457"', "202506180000123457"),
        ("T1_x000D_", "T1"),
        ("T1_x000D__x000A_", "T1"),
        ("T1\t", "T1"),
        (12.0, "12"),
        (12, "12"),
        (date(2025, 6, 18), "2025-06-18"),
        ("it's", "it's"),
    ],
)
def test_what_stands_around_a_cell_is_taken_off(cell: Any, text: str) -> None:
    assert text_of(cell) == text


@pytest.mark.parametrize(
    "cell", ["2.02506E+17", "2E+17", "2.02506e+17", 2**53, -(2**53), 2.02506e17]
)
def test_digits_that_a_spreadsheet_has_taken_are_noticed(cell: Any) -> None:
    assert has_lost_digits(cell)


@pytest.mark.parametrize(
    "cell", ["202506180000123457", 2**53 - 1, "E+17", "A2.0E+17", True, None, 1.5]
)
def test_whole_identifiers_have_lost_nothing(cell: Any) -> None:
    assert not has_lost_digits(cell)


@pytest.mark.parametrize(
    "cell", ["#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", " #n/a "]
)
def test_a_formula_that_failed_is_an_error(cell: str) -> None:
    assert is_error(cell)


@pytest.mark.parametrize("cell", ["#1003", "#", "N/A", None, 1])
def test_a_key_that_begins_with_a_number_sign_is_none(cell: Any) -> None:
    assert not is_error(cell)


@pytest.mark.parametrize(
    ("cell", "fen"),
    [
        ("1199.80", 119_980),
        ("`1199.80", 119_980),
        ("¥1,199.80", 119_980),
        ("-¥1.5", -150),
        ("1199.80元", 119_980),
        (1199.8, 119_980),
        (119.80000000000001, 11_980),
        (5, 500),
        ("+0.50", 50),
        ("1.005", None),
        ("1e3", None),
        ("", None),
        (None, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        ("1,19.80", None),
        ("--1", None),
        ("99999999999999", None),
    ],
)
def test_an_amount_is_exact_or_none(cell: Any, fen: int | None) -> None:
    assert fen_of(cell, in_yuan=True) == fen


def test_an_amount_in_fen_is_whole() -> None:
    assert fen_of("119980", in_yuan=False) == 119_980
    assert fen_of("1199.80", in_yuan=False) is None
