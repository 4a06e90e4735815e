"""Rows of workbooks as spreadsheets and libraries make them."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest
import xlsxwriter

from service.finance.files.faults import BadFile
from service.finance.files.open import open_table
from service.finance.files.workbook import WorkbookTable


def made(fill: Callable[[Any], None]) -> io.BytesIO:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    fill(book)
    book.close()
    file.seek(0)
    return file


def rows_of(file: io.BytesIO, sheet: str | None = None) -> tuple[list[tuple[int, list[Any]]], int]:
    table = WorkbookTable(file, sheet)
    rows = [(line, list(cells)) for line, cells in table]
    return rows, table.rows_said()


def fault_of(file: io.BytesIO) -> str:
    with pytest.raises(BadFile) as refused:
        list(open_table(file))
    return refused.value.fault


def test_rows_have_the_lines_that_the_sheet_shows() -> None:
    def fill(book: Any) -> None:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["订单号", "金额"])
        sheet.write_row(3, 0, ["T1", 1199.8])

    rows, said = rows_of(made(fill))
    assert rows == [(1, ["订单号", "金额"]), (4, ["T1", 1199.8])]
    assert said == 2


def test_a_row_of_formulas_without_a_value_is_a_row() -> None:
    book = openpyxl.Workbook()
    book.active.append(["订单号", "金额"])
    book.active.append(["=A1", "=1+1"])  # as a library writes them: nothing has computed them
    file = io.BytesIO()
    book.save(file)
    file.seek(0)
    rows, said = rows_of(file)
    assert rows[1] == (2, [None, None])
    assert said == 2


def test_error_cells_hidden_rows_and_merged_cells_are_rows() -> None:
    def fill(book: Any) -> None:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["订单号", "金额"])
        sheet.write_formula(1, 0, "=NA()", value="#N/A")
        sheet.write(1, 1, 5)
        sheet.write_row(2, 0, ["T2", 1])
        sheet.set_row(2, None, None, {"hidden": True})
        sheet.merge_range(3, 0, 4, 0, "T3")
        sheet.write(3, 1, 1)
        sheet.write(4, 1, 2)

    rows, said = rows_of(made(fill))
    assert [cells for _, cells in rows[1:]] == [["#N/A", 5], ["T2", 1], ["T3", 1], [None, 2]]
    assert said == 5


def test_several_sheets_with_rows_have_to_be_told_apart() -> None:
    def fill(book: Any) -> None:
        for name in ("一月", "二月", "说明"):
            sheet = book.add_worksheet(name)
            if name != "说明":
                sheet.write_row(0, 0, ["订单号", name])

    file = made(fill)
    with pytest.raises(BadFile, match="一月, 二月"):
        rows_of(file)
    file.seek(0)
    rows, _ = rows_of(file, "二月")
    assert rows == [(1, ["订单号", "二月"])]
    file.seek(0)
    with pytest.raises(BadFile, match="三月"):
        rows_of(file, "三月")


def test_strict_open_xml_is_told_what_to_save_as() -> None:
    plain = made(lambda book: book.add_worksheet().write(0, 0, "x"))
    strict = io.BytesIO()
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(strict, "w") as target:
        for name in source.namelist():
            text = source.read(name).replace(
                b"http://schemas.openxmlformats.org/spreadsheetml/2006/main",
                b"http://purl.oclc.org/ooxml/spreadsheetml/main",
            )
            target.writestr(name, text)
    strict.seek(0)
    assert fault_of(strict) == "strict_workbook"


def test_an_old_workbook_or_one_with_a_password_is_told_as_such() -> None:
    assert fault_of(io.BytesIO(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))) == "old_workbook"


def test_an_archive_that_is_cut_off_is_unreadable() -> None:
    whole = made(lambda book: book.add_worksheet().write(0, 0, "x")).getvalue()
    assert fault_of(io.BytesIO(whole[:-100])) == "unreadable"


def test_a_workbook_without_a_row_has_no_heading() -> None:
    assert fault_of(made(lambda book: book.add_worksheet())) == "no_rows"


def test_a_workbook_of_very_many_sheets_is_refused() -> None:
    def fill(book: Any) -> None:
        for _ in range(101):
            book.add_worksheet()

    assert fault_of(made(fill)) == "too_many_sheets"


def test_two_rows_of_one_line_are_said_as_two() -> None:
    """The library gives out one of them: the difference is noticed by the reader of the rows."""

    def fill(book: Any) -> None:
        sheet = book.add_worksheet()
        for at in range(3):
            sheet.write_row(at, 0, ["T", at])

    source = zipfile.ZipFile(made(fill))
    spoilt = io.BytesIO()
    with zipfile.ZipFile(spoilt, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b'<row r="3"', b'<row r="2"'))
    spoilt.seek(0)
    rows, rows_said = rows_of(spoilt)
    assert (len(rows), rows_said) == (2, 3)
