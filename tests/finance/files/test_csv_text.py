"""Rows of csv text: none is lost, whatever stands in its cells."""

import csv
import io
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.finance.files.csv_text import CsvTable
from service.finance.files.faults import BadFile


def read(content: bytes | str) -> tuple[list[tuple[int, list[Any]]], int]:
    """(line and cells of each row, how many the file says it has)."""
    body = content.encode() if isinstance(content, str) else content
    table = CsvTable(io.BytesIO(body), len(body))
    rows = [(line, list(cells)) for line, cells in table]
    return rows, table.rows_said()


def fault(content: bytes | str) -> tuple[str, str]:
    with pytest.raises(BadFile) as refused:
        read(content)
    return refused.value.fault, refused.value.facts["line"]


def test_lines_count_as_a_person_sees_them() -> None:
    rows, said = read('a,b\r\n\r\n1,"x\r\ny"\r\n   \r\n2,z\r\n')
    assert rows == [(1, ["a", "b"]), (3, ["1", "x\r\ny"]), (6, ["2", "z"])]
    assert said == 3


HEAD = "订单号,金额,商品\n"


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        # An inch that is never closed, closed by the next one, and closed alone in its cell.
        ('T1,1.00,a\nT2,1.00,"65寸\nG1,5.00,d\nG2,5.00,e\n', "3"),
        ('T1,1.00,"65寸\nG1,5.00,d\nT2,1.00,"50寸\n', "2"),
        ('T1,1.00,"65寸\nG1,5.00,"\nT2,1.00,x\n', "2"),
        # In the last row, and with text behind the closing mark.
        ('T1,1.00,a\nT2,1.00,"65寸\n', "3"),
        ('"T1,1.00,a\nT2,1.00,"b\n', "2"),
        ('T1,1.00,"65寸\nG1,5.00,d\nG2,5.00,"\nT2,1.00,x\n', "2"),
    ],
)
def test_a_quotation_mark_that_swallows_rows_is_told_where_it_opens(rows: str, line: str) -> None:
    assert fault(HEAD + rows) == ("open_quote", line)


def test_a_quotation_mark_before_the_amount_swallows_no_row_either() -> None:
    assert fault('订单号,商品,金额\nT1,"65,1.00\nG1,",5.00\n') == ("open_quote", "2")


@pytest.mark.parametrize(
    "cell", ['65" TV', 'a 65" and a 50" TV', "two\nlines", "one, two\nthree", "a\n\nb", '"quoted"']
)
def test_what_is_legal_stays_a_cell(cell: str) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["订单号", "金额", "商品"], ["T1", "1.00", cell], ["T2", "2", "b"]])
    rows, said = read(text.getvalue())
    assert [cells for _, cells in rows][1:] == [["T1", "1.00", cell], ["T2", "2", "b"]]
    assert said == 3


def test_an_inch_in_the_middle_of_a_cell_needs_no_quotation_marks() -> None:
    rows, _ = read(HEAD + 'T1,1.00,TV 65" big\nT2,1.00,b\n')
    assert [cells[2] for _, cells in rows] == ["商品", 'TV 65" big', "b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16"])
def test_each_encoding_of_a_spreadsheet_is_read(encoding: str) -> None:
    rows, said = read((HEAD + "T1,1.00,空调\n").encode(encoding))
    assert [cells for _, cells in rows] == [["订单号", "金额", "商品"], ["T1", "1.00", "空调"]]
    assert said == 2


def test_tabs_part_the_cells_of_a_text_file_that_excel_has_saved() -> None:
    rows, _ = read("a\tb\n1\t2,5\n".encode("utf-16"))
    assert [cells for _, cells in rows] == [["a", "b"], ["1", "2,5"]]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n\xff\xff,3\n",
        b"\xef\xbb\xbfa,b\n1,2\n\xe7\xa9,3\n",
        "a,b\n1,2\n空".encode("utf-16")[:-1],
    ],
)
def test_a_broken_character_is_told_with_its_line(content: bytes) -> None:
    with pytest.raises(BadFile) as refused:
        read(content)
    assert (refused.value.fault, refused.value.facts) == ("bad_character", {"line": "3"})


def test_a_broken_character_far_down_is_told_with_its_own_line() -> None:
    content = b"a,b\n" + b"1,2\n" * 9000 + b"\xff\xff,3\n" + b"1,2\n" * 9000
    assert fault(content) == ("bad_character", "9002")


cells = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00\x1c\x1d\x1e\x85\u2028"),
    max_size=12,
).map(lambda text: text.replace("\r", " ").replace("\x0b", " ").replace("\x0c", " "))
tables = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=12)
)


@given(tables)
def test_every_row_of_a_generated_file_is_given_out_once(table: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(table)
    filled = [row for row in table if any(row)]
    # Cells with whole rows in them are refused rather than read.
    assume(not any("\n" in cell and "," in cell for row in table for cell in row))
    rows, said = read(text.getvalue())
    assert len(rows) == said == len(filled)
