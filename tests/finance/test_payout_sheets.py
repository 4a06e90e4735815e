"""Payout sheets and merchants' exports: workbooks with headings of their own."""

import io

import pytest
import xlsxwriter

from service.finance.files.profiles.profile import ProfileName
from tests.finance.bills import (
    PAYOUT_APPLIANCES,
    PAYOUT_DIGITAL,
    YJHX_COLUMNS,
    Sold,
    fault_of,
    findings,
    payout_row,
    reconciled,
    wechat_bill,
    wechat_row,
    workbook,
    yjhx_row,
    zipped,
)

SALES = [Sold("P1"), Sold("P2")]
ROWS = [payout_row("P1"), payout_row("P2", "1199.80")]
PRICES = [Sold("P1", 799_867), Sold("P2", 799_867)]
EXPORTED = [yjhx_row("P1", 1), yjhx_row("P2", 2)]
ALIASES = {
    "交易时间": "交易完成时间", "销售企业": "销方名称", "商户编号": "核销商编",
    "销售金额": "应收销售金额", "交易参考号": "参考号", "交易订单号": "订单号",
    "补贴金额": "补贴销售金额", "编码品类": "品类",
    "商品名称": "商品明细", "发票号": "发票号码",
}  # fmt: skip


def export(rows: list[dict[str, object]]) -> bytes:
    return workbook(YJHX_COLUMNS, rows, "一机核销明细")


@pytest.mark.parametrize("columns", [PAYOUT_APPLIANCES, PAYOUT_DIGITAL, PAYOUT_DIGITAL[::-1]])
@pytest.mark.parametrize("aliases", [{}, ALIASES])
@pytest.mark.parametrize("title", [None, "补贴明细"])
def test_both_kinds_are_read_by_any_name_of_their_headings(
    columns: tuple[str, ...], aliases: dict[str, str], title: str | None
) -> None:
    body = workbook(columns, ROWS, title)
    if aliases:
        rows = [{aliases.get(name, name): cell for name, cell in row.items()} for row in ROWS]
        body = workbook([aliases.get(name, name) for name in columns], rows, title)
    summary, items = reconciled(body, "payout", SALES)
    assert (summary.findings["matched"].count, items) == (2, [])
    assert (summary.skipped_rows, summary.sheet) == (1 if title else 0, "明细")


def test_an_alias_may_be_named() -> None:
    body = workbook(PAYOUT_APPLIANCES, ROWS)
    named = {"keys": (("order_no", "订单号"),), "amount": "补贴销售金额"}
    assert findings(body, "payout", SALES, **named) == {"matched": 2}


def test_a_fen_more_or_less_is_a_rounding_and_two_are_a_difference() -> None:
    sales = [Sold("P1", 119_981), Sold("P2", 119_979), Sold("P3", 119_982), Sold("P4")]
    body = workbook(PAYOUT_APPLIANCES, [*ROWS, payout_row("P3"), payout_row("P4")])
    summary, items = reconciled(body, "payout", sales)
    assert {(item.finding, item.key) for item in items} == {
        ("rounding", "P1"), ("rounding", "P2"), ("amount_differs", "P3"),
    }  # fmt: skip
    rounding = summary.findings["rounding"]
    assert (rounding.count, rounding.here_fen, rounding.there_fen) == (2, 239_960, 239_960)
    assert summary.findings["matched"].count == 1


def test_a_bill_has_no_roundings() -> None:
    body = wechat_bill([wechat_row("P1"), wechat_row("P2")]).encode()
    assert findings(body, "wechat", [Sold("P1", 119_981), Sold("P2", 119_979)]) == {
        "amount_differs": 2
    }


def test_a_total_at_the_end_is_compared() -> None:
    total = {"拨付批次": "合计", "补贴金额": 2399.6}
    summary, _ = reconciled(workbook(PAYOUT_APPLIANCES, [*ROWS, total]), "payout", SALES)
    assert (summary.trailer_rows, summary.totals[0].stated) == (1, "2399.60")
    bad = fault_of(workbook(PAYOUT_APPLIANCES, [ROWS[0], total]), "payout")
    assert (bad.fault, bad.facts["read"]) == ("totals_differ", "1199.80")
    assert bad.facts["sheet"] == "明细"


def test_each_sheet_of_a_zip_has_its_own_total_and_titles() -> None:
    sheets = {
        f"{n}.xlsx": workbook(
            PAYOUT_APPLIANCES, [ROWS[n], {"拨付批次": "合计", "补贴金额": 1199.8}], "title"
        )
        for n in range(2)
    }
    summary, items = reconciled(zipped(sheets), "payout", SALES)
    assert (summary.findings["matched"].count, summary.trailer_rows, items) == (2, 2, [])


@pytest.mark.parametrize(
    "total",
    [
        {"拨付批次": "合计", "补贴金额": "5000.00 元整"},  # no amount
        {"交易参考号": "12345678901N", "商品名称": "合计", "补贴金额": 2399.6},  # a sale's number
        {"商品名称": "空调", "备注": "合计", "补贴金额": 2399.6},  # it does not begin with the word
    ],
)
def test_a_row_that_may_be_a_sale_is_no_total(total: dict[str, object]) -> None:
    columns = (*PAYOUT_APPLIANCES, "备注")
    summary, items = reconciled(workbook(columns, [*ROWS, total]), "payout", SALES)
    assert [item.finding for item in items] == ["bad_row"]
    assert summary.trailer_rows == 0


def test_a_sale_above_the_heading_is_refused() -> None:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet("明细")
    sheet.write_row(0, 0, ["GHOST-1", 5000.0])
    sheet.write_row(1, 0, ["交易订单号", "补贴金额"])
    sheet.write_row(2, 0, ["P1", 1199.8])
    book.close()
    bad = fault_of(file.getvalue(), "payout")
    assert (bad.fault, bad.facts["line"]) == ("sale_in_head", "1")


@pytest.mark.parametrize("heading", ["补贴金额", "补贴销售金额"])
def test_a_column_that_stands_there_twice_is_refused_in_each_workbook(heading: str) -> None:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet("明细")
    sheet.write_row(0, 0, ["交易订单号", "补贴金额", heading])
    sheet.write_row(1, 0, ["P2", 1199.8, 5000.0])
    book.close()
    sheets = {"1.xlsx": workbook(PAYOUT_APPLIANCES, ROWS[:1]), "2.xlsx": file.getvalue()}
    assert fault_of(zipped(sheets), "payout").fault == "repeated_columns"


def test_cells_beyond_the_heading_make_a_bad_row() -> None:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet("明细")
    sheet.write_row(0, 0, ["交易订单号", "补贴金额"])
    sheet.write_row(1, 0, ["P1", 1199.8, "GHOST", 5000.0])
    book.close()
    assert findings(file.getvalue(), "payout", SALES[:1])["too_many_cells"] == 1


def test_a_row_of_nothing_is_missing_where_every_row_is_a_subsidised_sale() -> None:
    nothing = workbook(PAYOUT_APPLIANCES, [*ROWS, payout_row("GHOST", "0.00")])
    assert findings(nothing, "payout", SALES) == {"matched": 2, "missing_here": 1}
    unpaid = export([*EXPORTED, {**yjhx_row("GHOST", 3), "发票金额": 0}])
    assert findings(unpaid, "yjhx", PRICES) == {"matched": 2, "missing_here": 1}


def test_a_zip_of_both_kinds_is_one_table() -> None:
    body = zipped(
        {
            "以旧换新补贴明细.xlsx": workbook(PAYOUT_APPLIANCES, ROWS[:1], "补贴明细"),
            "数码补贴明细.xlsx": workbook(PAYOUT_DIGITAL, ROWS[1:]),
        }
    )
    summary, items = reconciled(body, "payout", SALES[:1])
    assert [(item.finding, item.file_line, item.key) for item in items] == [
        ("missing_here", 5, "P2")
    ]
    assert (summary.heading_rows, summary.rows_in_file) == (2, 5)


def test_a_subsidy_that_came_back_is_a_refund() -> None:
    body = workbook(PAYOUT_APPLIANCES, [*ROWS, payout_row("P1", -1199.8)])
    assert findings(body, "payout", [Sold("P1", state="refunded"), SALES[1]]) == {
        "matched": 2, "refunded": 1,
    }  # fmt: skip


@pytest.mark.parametrize("profile", ["payout", "yjhx"])
def test_a_file_of_another_kind_is_refused(profile: ProfileName) -> None:
    for body, fault in (
        (b"a,b\n1,2\n", "not_of_profile"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old_workbook"),
        (workbook(["a", "b"], []), "missing_columns"),
        (workbook(["a"], [{"a": n} for n in range(20)]), "missing_columns"),
        (empty_workbook(), "no_rows"),
    ):
        assert fault_of(body, profile).fault == fault


def empty_workbook() -> bytes:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    book.add_worksheet()
    book.close()
    return file.getvalue()


def test_an_export_is_compared_by_the_price() -> None:
    summary, items = reconciled(export(EXPORTED), "yjhx", PRICES)
    assert (summary.findings["matched"].count, items) == (2, [])
    assert (summary.skipped_rows, summary.heading_rows, summary.rows_in_file) == (1, 1, 4)


def test_the_states_of_an_export_may_be_mapped() -> None:
    rows = [*EXPORTED, yjhx_row("P3", 3, 状态="失败"), yjhx_row("P4", 4, 状态="退款")]
    sales = [*PRICES, Sold("P3", 0, "cancelled", None), Sold("P4", 799_867)]
    states = {"成功": "confirmed", "失败": "cancelled"}
    assert findings(export(rows), "yjhx", sales, state="状态", states=states) == {
        "matched": 3, "state_unmapped": 1, "missing_there": 1,
    }  # fmt: skip


def test_numbers_may_be_text_or_not() -> None:
    rows = [yjhx_row("P1", 1, 发票金额=7998.67), yjhx_row("P2", 2, 检索参考号=" 00000000002n ")]
    assert findings(export(rows), "yjhx", PRICES) == {"matched": 2}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (yjhx_row("P3", 1), "reference_repeated"),
        (yjhx_row("P3", 3, 检索参考号="00000000001n"), "reference_repeated"),
        (yjhx_row("P3", 3, 检索参考号=12345678901), "reference_unreadable"),
        (yjhx_row("P3", 3, 检索参考号=None), "reference_unreadable"),
        (yjhx_row("P3", 3, 检索参考号="#N/A"), "formula_failed"),
        (yjhx_row("P3", 3, 发票金额="#N/A"), "formula_failed"),
        (yjhx_row("P3", 3, 发票金额="=A1"), "amount_unreadable"),
        (yjhx_row("P3", 3, 发票金额=True), "amount_is_boolean"),
        (yjhx_row("P3", 3, 订单号="=A1"), "key_missing"),
        (yjhx_row("P3", 3, 订单号=202506180000123457), "digits_lost"),
    ],
)
def test_a_row_that_cannot_be_read_is_a_bad_one(row: dict[str, object], reason: str) -> None:
    assert findings(export([*EXPORTED, row]), "yjhx", PRICES) == {"matched": 2, reason: 1}


def test_a_price_has_no_roundings() -> None:
    rows = [payout_row("P1", 销售金额=7998.68), payout_row("P2", 销售金额=7998.67)]
    sales = [Sold("P1", 799_867), Sold("P2", 799_867)]
    named = {"amount": "销售金额", "amount_is": "price"}
    assert findings(workbook(PAYOUT_APPLIANCES, rows), "payout", sales, **named) == {
        "matched": 1, "amount_differs": 1,
    }  # fmt: skip
