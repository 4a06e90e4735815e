"""Files as spreadsheets and platforms really write them: no row of a file is lost."""

import asyncio
import csv
import gzip
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook
from typer.testing import CliRunner

from service.cli.commands import app
from service.finance.files.csv_text import CsvTable
from service.finance.files.faults import BadFile
from service.finance.reconcile.mapping import ColumnMapping
from service.finance.reconcile.run import ReconcileItem, ReconcileRun, ReconcileSummary
from service.finance.reconcile.sentences import fault_sentence
from tests.conftest import House
from tests.finance.books import TODAY
from tests.finance.reconciling import DAY, SCOPE, counts, ended, no_progress, staged

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

BY_ORDER = ColumnMapping((("order_no", "订单号"),), "金额")
ORDERS = ("T1", "T2", "202506180000123457", "202506180000123458")
BOTH = "202506180000123457,空调,1199.80\n202506180000123458,空调,1199.80\n"
HEAD = "订单号,商品,金额\n"
FIRST = f"{HEAD}T1,a,1199.80\nT2,b,1199.80\n"


def reconciled(
    content: bytes | str, mapping: ColumnMapping = BY_ORDER, orders: Sequence[str] = ORDERS
) -> tuple[ReconcileSummary, list[ReconcileItem]]:
    """(the result, the differences)"""
    body = content.encode() if isinstance(content, str) else content
    # One sale of 1,199.80 yuan for each order.
    units = [
        (order, f"00000000-0000-0000-0000-{n:012}", None, TODAY, 119_980, "confirmed")
        for n, order in enumerate(orders)
    ]
    return staged(body, mapping, units)


def findings(content: bytes | str, **more: Any) -> dict[str, int]:
    """How often each finding occurs, with the bad rows and the remarks."""
    summary, _ = reconciled(content, **more)
    all_counts = {name: part.count for name, part in summary.findings.items()}
    all_counts |= {"bad_row": summary.bad_rows, "remark": summary.remarks}
    return {name: count for name, count in all_counts.items() if count}


def reasons(content: bytes | str) -> list[tuple[int | None, str | None]]:
    _, items = reconciled(content)
    return [(item.file_line, item.why) for item in items if item.finding == "bad_row"]


def fault_of(content: bytes | str, mapping: ColumnMapping = BY_ORDER) -> BadFile:
    with pytest.raises(BadFile) as refused:
        reconciled(content, mapping)
    return refused.value


@dataclass(frozen=True)
class Formula:
    """A formula, with the value that its sheet shows."""

    value: Any


def write_rows(sheet: Any, rows: Sequence[Sequence[Any]]) -> None:
    for at, row in enumerate(rows):
        for column, cell in enumerate(row):
            if isinstance(cell, Formula):
                sheet.write_formula(at, column, "=A1", value=cell.value)
            elif isinstance(cell, str):
                sheet.write_string(at, column, cell)
            elif cell is not None:
                sheet.write(at, column, cell)


def workbook(sheets: dict[str, list[list[Any]]]) -> bytes:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for at, row in enumerate(rows):
            for column, cell in enumerate(row):
                if isinstance(cell, str) and cell.startswith("#N"):
                    sheet.write_formula(at, column, "=NA()", value=cell)
                else:
                    sheet.write(at, column, cell)
    book.close()
    return file.getvalue()


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('T1,c,1199.80\nT2,"65寸电视,1199.80\nGHOST-1,d,5000.00\nGHOST-2,e,5000.00\n', "5"),
        ('T1,"65寸,1199.80\nGHOST-1,d,5000.00\nT2,"50寸,1199.80\n', "4"),
    ],
)
def test_an_open_quotation_mark_is_refused_where_it_opens(rows: str, line: str) -> None:
    bad = fault_of(HEAD + BOTH + rows)
    assert (bad.fault, bad.facts) == ("open_quote", {"line": line})


def test_a_key_that_begins_with_a_number_sign_is_a_row() -> None:
    file = FIRST + BOTH + "#1003,c,5000.00\n"
    assert findings(file) == {"matched": 4, "missing_here": 1}
    assert findings(file, orders=(*ORDERS, "#1003")) == {"matched": 4, "amount_differs": 1}


@pytest.mark.parametrize(
    "word", ["#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"]
)
def test_a_failed_formula_makes_a_bad_row(word: str) -> None:
    file = f"{FIRST}{BOTH}{word},d,5000.00\nT9,d,{word}\n{word},,\n"
    assert reasons(file) == [(n, "formula_failed") for n in (6, 7, 8)]
    assert findings(file) == {"matched": 4, "bad_row": 3}


def test_a_failed_formula_in_a_workbook_makes_a_bad_row() -> None:
    rows = [["订单号", "金额"], ["T1", 1199.8], ["#N/A", 5000], ["T2", "#N/A"], ["T2", True]]
    assert reasons(workbook({"账单": rows})) == [
        (3, "formula_failed"), (4, "formula_failed"), (5, "amount_is_boolean"),
    ]  # fmt: skip


@pytest.mark.parametrize("remark", ["#账单", "#合计,,", "#起始日期：[2025年06月18日],终止", "#"])
def test_remarks_around_the_list_are_counted_and_no_rows(remark: str) -> None:
    summary, items = reconciled(f"{remark}\n{FIRST}{BOTH}{remark}\n")
    assert (summary.findings["matched"].count, items) == (4, [])
    assert (summary.remarks, summary.rows_accounted, summary.rows_in_file) == (2, 7, 7)


def test_a_short_row_with_an_amount_is_no_remark() -> None:
    assert findings("订单号,金额,商品\n#1003,5000.00\n", orders=()) == {"missing_here": 1}


def test_a_heading_may_begin_with_a_number_sign() -> None:
    assert findings("#,订单号,金额\n1,T1,1199.80\n", orders=("T1",)) == {"matched": 1}


@pytest.mark.parametrize("key", ["2.02506E+17", "2E+17"])
def test_digits_that_a_spreadsheet_took_are_told_and_no_duplicates(key: str) -> None:
    file = f"{FIRST}{key},c,1199.80\n{key},d,1199.80\n"
    assert reasons(file) == [(4, "digits_lost"), (5, "digits_lost")]
    assert findings(file) == {"matched": 2, "bad_row": 2, "missing_there": 2}


def test_numbers_of_a_workbook_that_are_not_exact_are_told() -> None:
    rows = [["订单号", "金额"], [202506180000123457, 1199.8], [2**53 - 1, 1199.8]]
    body = workbook({"账单": rows})
    assert reasons(body) == [(2, "digits_lost")]
    assert findings(body, orders=(str(2**53 - 1),)) == {"matched": 1, "bad_row": 1}


@pytest.mark.parametrize(
    "keys",
    [
        ('="202506180000123457"', '="202506180000123458"'),
        ("\u00a0202506180000123457", "202506180000123458\u3000"),
        ("\ufeff202506180000123457\u200b", "'202506180000123458"),
        ("２０２５06180000123457", "`202506180000123458"),
    ],
)
def test_what_surrounds_a_key_is_taken_off(keys: tuple[str, str]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([key, "c", "1199.80"] for key in keys)
    assert findings(FIRST + text.getvalue()) == {"matched": 4}


def test_line_ends_that_a_workbook_escapes_are_taken_off() -> None:
    rows = [["订单号", "金额"], ["T1_x000D_", 1199.8], ["Ｔ２", "1199.80元"]]
    assert findings(workbook({"账单": rows}), orders=("T1", "T2")) == {"matched": 2}


def test_books_with_full_width_letters_are_matched() -> None:
    assert findings(f"{HEAD}AB1,a,1199.80\n", orders=("ＡＢ1",)) == {"matched": 1}


def test_a_sheet_is_chosen_by_name() -> None:
    heading = ["订单号", "金额"]
    body = workbook({"一月": [heading, ["T1", 1199.8]], "二月": [heading, ["T2", 1199.8]]})
    bad = fault_of(body)
    assert (bad.fault, bad.facts) == ("which_sheet", {"sheets": "一月, 二月"})
    named = ColumnMapping(BY_ORDER.keys, "金额", sheet="二月")
    summary, items = reconciled(body, named, ("T2",))
    assert (summary.sheet, summary.rows_in_file, items) == ("二月", 2, [])
    assert fault_of(body, ColumnMapping(BY_ORDER.keys, "金额", sheet="三月")).fault == (
        "no_such_sheet"
    )
    assert fault_of(HEAD, ColumnMapping(BY_ORDER.keys, "金额", sheet="一月")).fault == "no_sheets"


def test_a_fault_of_a_sheet_names_the_sheet_and_the_line() -> None:
    bad = fault_of(workbook({"一月": [["#账单"], [], ["订单", "金额"]]}))
    assert fault_sentence(bad.fault, bad.facts, "en").endswith(" (sheet 一月, line 3)")
    assert fault_sentence(bad.fault, bad.facts, "zh").endswith("（工作表 一月，行 3）")
    # A fault on record of before has no such facts.
    assert "订单号" in fault_sentence("missing_columns", {"columns": "订单号"}, "zh")


TOTALS = {
    "总交易单数,应结订单总金额\n`4,`4799.20\n": 2,
    "合计,,4799.20\n": 1,
    "合计 4 笔,,4799.20\n": 1,
}


@pytest.mark.parametrize("totals", TOTALS)
def test_totals_at_the_end_are_skipped_and_counted(totals: str) -> None:
    mapping = ColumnMapping(BY_ORDER.keys, "金额", skip_end=TOTALS[totals])
    summary, items = reconciled(FIRST + BOTH + totals, mapping)
    assert (summary.findings["matched"].count, items) == (4, [])
    assert (summary.trailer_rows, summary.rows_in_file) == (TOTALS[totals], 5 + TOTALS[totals])
    assert findings(FIRST + BOTH + totals) != {"matched": 4}  # without skip_end


@pytest.mark.parametrize("last", ["202506180000123459,c,5000.00\n", "2.02506E+17,c,1199.80\n"])
def test_a_sale_is_never_skipped_at_the_end(last: str) -> None:
    mapping = ColumnMapping(BY_ORDER.keys, "金额", skip_end=2)
    bad = fault_of(f"{FIRST}{BOTH}{last}合计,,4799.20\n", mapping)
    assert (bad.fault, bad.facts) == ("sale_in_trailer", {"line": "6"})
    assert fault_of(FIRST, ColumnMapping(BY_ORDER.keys, "金额", skip_end=9)).facts == {"line": "2"}


@pytest.mark.parametrize(
    ("before", "skip", "line"),
    [
        ("GHOST-1,x,5000.00\n", 1, "1"),
        ("#GHOST-1,x,5000.00\n", 0, "1"),
        ("preamble\n2.02506E+17,x,5000.00\n", 2, "2"),
    ],
)
def test_a_sale_is_never_skipped_before_the_heading(before: str, skip: int, line: str) -> None:
    bad = fault_of(before + FIRST + BOTH, ColumnMapping(BY_ORDER.keys, "金额", skip=skip))
    assert (bad.fault, bad.facts) == ("sale_in_head", {"line": line})


def test_cells_beyond_the_heading_make_a_bad_row() -> None:
    beyond = f"{HEAD}T1,a,1199.80,GHOST,5000.00\nT2,b,1199.80,,\n"
    assert reasons(beyond) == [(2, "too_many_cells")]
    assert findings(beyond, orders=("T2",)) == {"matched": 1, "bad_row": 1}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_two_files_of_one_name_is_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", f"{HEAD}GHOST-1,x,5000.00\n")
        archive.writestr("a.csv", FIRST)
    bad = fault_of(packed.getvalue())
    assert (bad.fault, bad.facts) == ("members_alike", {"member": "a.csv"})


@pytest.mark.parametrize("name", ["b.DS_Store", "__MACOSX/a.csv"])
def test_only_what_a_mac_adds_to_an_archive_is_left_out(name: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", FIRST + BOTH)
        archive.writestr("__MACOSX/._a.csv", b"\x00\x05\x16\x07")
    assert findings(packed.getvalue()) == {"matched": 4}
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, f"{HEAD}GHOST-1,x,5000.00\n")
    assert fault_of(packed.getvalue()).fault == "which_member"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_a_zip_or_gz_of_one_table_is_read(encoding: str) -> None:
    body = (FIRST + BOTH).encode(encoding)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("bill.csv", body)
    for content in (body, packed.getvalue(), gzip.compress(body)):
        assert findings(content) == {"matched": 4}


def test_a_zip_of_two_tables_is_refused_with_their_names() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", FIRST)
        archive.writestr("b.csv", FIRST)
    bad = fault_of(packed.getvalue())
    assert (bad.fault, bad.facts) == ("which_member", {"members": "a.csv, b.csv"})


def test_rows_that_are_lost_on_the_way_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CsvTable, "rows_said", lambda table: 6)
    bad = fault_of(FIRST + BOTH)
    assert (bad.fault, bad.facts) == ("rows_lost", {"rows": "6", "read": "5"})
    staging = ReconcileRun(SCOPE, BY_ORDER, no_progress)
    with pytest.raises(BadFile, match="6 rows"):  # before the books are read
        asyncio.run(staging.stage_file(io.BytesIO((FIRST + BOTH).encode())))
    staging.close()


def test_pairs_that_are_lost_on_the_way_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReconcileRun, "_pairs", lambda run: iter(()))
    bad = fault_of(FIRST + BOTH)
    assert (bad.fault, bad.facts) == ("rows_lost", {"rows": "5", "read": "1"})


KEYS = ["T1", "T2", "T3", "#1003", "#N/A", "2.02506E+17", "\u00a0T1\u3000", '="T2"', "", "Ｔ3", "#"]
PRODUCTS = ["空调", '65" TV', '"quoted"', "two\nlines", "a, b", "", "#"]
AMOUNTS = ["1199.80", "¥1,199.80", "5000", "#REF!", "much", "", "TRUE"]
GENERATED = st.lists(
    st.tuples(*map(st.sampled_from, (KEYS, PRODUCTS, AMOUNTS))) | st.just(("#remark",)),
    max_size=25,
)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"])


@given(GENERATED, ENCODINGS, st.integers(0, 2), st.sampled_from(["\n", "\r\n", "\n\n"]))
@settings(max_examples=200, deadline=None)
def test_every_row_of_a_generated_file_is_accounted_for(
    rows: list[tuple[str, ...]], encoding: str, skip: int, line_end: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerows([["preamble"]] * skip + [["订单号", "商品", "金额"], *rows])
    lines_before = skip * line_end.count("\n")
    mapping = ColumnMapping(BY_ORDER.keys, "金额", skip=lines_before)
    summary, _ = reconciled(text.getvalue().encode(encoding), mapping, ("T1", "T2", "T3"))
    independent = [row for row in csv.reader(io.StringIO(text.getvalue())) if any(row)]
    remarks = [row for row in independent if row[0][:1] == "#" and not any(row[1:])]
    remarks = [row for row in remarks if row[0] != "#N/A"]
    assert summary.rows_accounted == summary.rows_in_file == len(independent)
    assert (summary.skipped_rows, summary.remarks) == (skip, len(remarks))
    fen = {"1199.80": 119_980, "¥1,199.80": 119_980, "5000": 500_000}
    good = [
        fen[row[2]]
        for row in rows
        if len(row) > 1 and row[2] in fen and row[0] not in ("", "#N/A", "2.02506E+17")
    ]
    assert summary.there_fen == sum(good)
    assert summary.rows - summary.bad_rows == len(good)


CELLS: list[Any] = [
    *("T1", "#1003", "\u3000T3 ", "T2\r\n", '="T1"', "#remark", "", None),
    *(1199.8, 5000, 202506180000123457, 2.5, True, False),
    *(Formula("#N/A"), Formula("#REF!"), Formula(1199.8), Formula("")),
]
SHEETS = st.lists(
    st.tuples(st.sampled_from(CELLS), st.sampled_from(CELLS), st.sampled_from(CELLS)), max_size=15
)


@given(SHEETS, st.data())
@settings(max_examples=150, deadline=None)
def test_every_row_of_a_generated_workbook_is_accounted_for(
    rows: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    """Formulas, errors, ruined digits, blanks; rows, columns and sheets that are hidden; cells that
    are merged: against python-calamine, which shares no code with openpyxl."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet("bill")
    write_rows(sheet, [("订单号", "商品", "金额"), *rows])
    for at in data.draw(st.sets(st.integers(0, len(rows)))):
        sheet.set_row(at, None, None, {"hidden": True})
    if data.draw(st.booleans()):
        sheet.set_column(1, 1, None, None, {"hidden": True})
    if data.draw(st.booleans()):
        sheet.merge_range(len(rows) + 3, 0, len(rows) + 4, 2, "合计")
    if data.draw(st.booleans()):
        book.add_worksheet("empty").hide()
    book.close()
    summary, items = reconciled(file.getvalue(), orders=("T1", "T2", "T3"))
    independent = [
        row
        for row in CalamineWorkbook.from_filelike(io.BytesIO(file.getvalue()))
        .get_sheet_by_name("bill")
        .to_python(skip_empty_area=False)
        if any(cell != "" for cell in row)
    ]
    # calamine shows an empty text, an empty formula and a failed one as no cell.
    shown_as_none = {"", None, Formula(""), Formula("#N/A"), Formula("#REF!")}
    unseen = sum(set(row) <= shown_as_none and set(row) != {None} for row in rows)
    assert summary.rows_accounted == summary.rows_in_file == len(independent) + unseen
    bad = [item for item in items if item.finding == "bad_row"]
    assert len(bad) == summary.bad_rows
    assert 1 + summary.remarks + summary.bad_rows + summary.paired_rows() == summary.rows_in_file


@given(st.integers(0, 400), st.sampled_from([b'"', b"\xff", b"\x00", b"\x81", b",", b"\n", b"#"]))
@settings(max_examples=200, deadline=None)
def test_a_byte_that_strays_into_a_file_loses_no_money(at: int, byte: bytes) -> None:
    """Sixteen sales of which the books have none: each is accounted for, or the file is refused."""
    content = (HEAD + "".join(f"G{n},空调,{n}.00\n" for n in range(1, 17))).encode()
    at %= len(content)
    try:
        summary, _ = reconciled(content[:at] + byte + content[at:], orders=())
    except BadFile:
        return
    assert summary.rows_accounted == summary.rows_in_file
    assert summary.rows >= 16
    assert summary.bad_rows or summary.there_fen >= 13_600 or byte in (b",", b"\n", b"#")


async def test_the_answer_shows_the_counts_and_the_sheet(house: House) -> None:
    rows = [["订单号", "金额"], ["T1", 1199.8], ["#N/A", 1]]
    body = workbook({"一月": rows, "二月": [["x"]]})
    query = {**DAY, "order_no": "订单号", "amount": "金额", "sheet": "一月"}
    shown = await sent(house, body, query)
    summary = shown["summary"]
    assert counts(shown) == {"missing_here": 1}
    assert (summary["rows_in_file"], summary["rows_accounted"], summary["sheet"]) == (
        3, 3, "一月",
    )  # fmt: skip
    (bad_row,) = shown["bad_rows"]
    assert bad_row["why"] == "formula_failed" and "#N/A" in bad_row["detail"]
    failed = await sent(house, body, {**query, "sheet": "三月"})
    assert failed["fault"]["code"] == "no_such_sheet"
    assert "三月" in failed["fault"]["detail"]


async def sent(house: House, body: bytes, query: dict[str, str]) -> dict[str, Any]:
    async with house.client("finance") as client:
        answer = await client.post("/v1/reconciliations", params=query, content=body)
    assert answer.status_code == 202, answer.text
    return await ended(house, answer.headers["location"])


async def test_a_result_of_an_earlier_release_is_still_shown(house: House) -> None:
    body = FIRST.encode()
    shown = await sent(house, body, {**DAY, "order_no": "订单号", "amount": "金额"})
    path = f"/v1/reconciliations/{shown['reconciliation_id']}"
    await house.sql(
        "UPDATE reconciliation SET summary = summary - '{sheet,skipped_rows,remarks,"
        "rows_accounted,rows_in_file}'::text[], mapping = mapping - 'sheet'"
    )
    old = (await shown_at(house, path))["summary"]
    assert (old["rows"], old["rows_in_file"], old["remarks"]) == (2, None, 0)
    await house.sql(
        "UPDATE reconciliation SET state = 'failed', summary = NULL,"
        " fault = 'missing_columns', fault_facts = '{\"columns\": \"x\"}'"
    )
    assert "x" in (await shown_at(house, path))["fault"]["detail"]


async def shown_at(house: House, path: str) -> dict[str, Any]:
    async with house.client("finance") as client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_the_command_line_exits_with_2_when_a_row_would_be_lost(
    house: House, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUTIE_DATABASE_URL", str(house.settings.database_url))
    monkeypatch.setenv("BUTIE_REDIS_URL", str(house.settings.redis_url))
    path = tmp_path / "bill.csv"

    async def command(content: str, *more: str) -> Any:
        path.write_text(content, encoding="utf-8")
        arguments = ["reconcile", str(path), "--order-no", "订单号", "--amount", "金额"]
        days = ["--from", "2025-06-18", "--to", "2025-06-18"]
        return await asyncio.to_thread(CliRunner().invoke, app, [*arguments, *days, *more])

    whole = await command(f"#账单\n{HEAD}")
    assert whole.exit_code == 0, whole.output
    assert "The file has 2 rows by its own count, and 2 are accounted for" in whole.output
    quote = await command(f'{HEAD}T1,"65,1.00\nGHOST,d,5000.00\n')
    assert quote.exit_code == 2 and "line 2" in quote.output
    assert (await command(HEAD, "--sheet", "一月")).exit_code == 2
    itself = await command(FIRST, "--list", str(path))
    assert itself.exit_code == 2 and path.read_text(encoding="utf-8") == FIRST
    monkeypatch.setattr(CsvTable, "rows_said", lambda table: 9)
    lost = await command(FIRST)
    assert lost.exit_code == 2 and "the file has 9 rows and 3 were read" in lost.output
