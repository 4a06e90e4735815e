"""WeChat's trade bill goes in as it is downloaded, and its own totals prove that it is whole."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.finance.files.faults import BadFile
from tests.finance.bills import (
    WECHAT_ALL,
    WECHAT_REFUND,
    WECHAT_SUCCESS,
    Sold,
    fault_of,
    findings,
    reconciled,
    wechat_bill,
    wechat_refund,
    wechat_row,
    zipped,
)

SALES = [Sold("POS2025-1"), Sold("POS2025-2")]
ROWS = [wechat_row("POS2025-1"), wechat_row("POS2025-2")]
BILL = wechat_bill(ROWS)


def test_a_bill_is_read_however_it_was_packed() -> None:
    body = BILL.encode("utf-8-sig")
    for content in (BILL.encode(), body, zipped({"账单.csv": body}), gzip.compress(body)):
        summary, items = reconciled(content, "wechat", SALES)
        assert (summary.findings["matched"].count, items) == (2, [])
        assert (summary.heading_rows, summary.trailer_rows) == (1, 2)
        assert summary.rows_in_file == summary.rows_accounted == 5
    assert [(total.name, total.stated) for total in summary.totals] == [
        ("总交易单数", "2"), ("应结订单总金额", "15997.34"), ("退款总金额", "0.00"),
        ("充值券退款总金额", "0.00"), ("订单总金额", "15997.34"), ("申请退款总金额", "0.00"),
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [WECHAT_SUCCESS, WECHAT_ALL, [*reversed(WECHAT_ALL)]])
def test_columns_are_found_by_their_names(columns: list[str]) -> None:
    assert findings(wechat_bill(ROWS, columns).encode(), "wechat", SALES) == {"matched": 2}


def test_the_columns_of_long_ago_have_other_names() -> None:
    old = {
        "应结订单金额": "总金额", "代金券金额": "代金券或立减优惠金额",
        "应结订单总金额": "总交易额",
        "充值券退款金额": "代金券或立减优惠退款金额",
    }  # fmt: skip
    bill = wechat_bill(ROWS, WECHAT_ALL[:24])
    for new_name, old_name in old.items():
        bill = bill.replace(new_name, old_name)
    assert findings(bill.encode(), "wechat", SALES) == {"matched": 2}


@pytest.mark.parametrize("name", ["65寸,电视", '55" TV, "white"', "两行\n名称", "a,b\r\nc,d", "#5"])
def test_a_goods_name_may_hold_what_parts_other_files(name: str) -> None:
    summary, items = reconciled(
        wechat_bill([wechat_row("POS2025-1", 商品名称=name), ROWS[1]]).encode(),
        "wechat",
        SALES,
    )
    assert (summary.findings["matched"].count, summary.bad_rows, items) == (2, 0, [])


def test_a_count_may_have_a_decimal() -> None:
    rows = [wechat_row(f"X{n}", "0.00") for n in range(45)]
    bill = wechat_bill(rows, 总交易单数="45.0", 退款总金额="0.0").encode()
    summary, _ = reconciled(bill, "wechat")
    assert summary.totals[0].read == "45" and summary.findings["unsubsidised"].count == 45


@pytest.mark.parametrize("line", range(5))
def test_no_line_of_a_bill_can_be_lost(line: int) -> None:
    lines = BILL.splitlines(keepends=True)
    del lines[line]
    with pytest.raises(BadFile):
        reconciled("".join(lines).encode(), "wechat", SALES)


@given(st.lists(st.text("空a,`\"'\n\r#1总 ", max_size=8), max_size=6))
@settings(max_examples=200, deadline=None)
def test_whatever_goods_are_called_no_row_vanishes(names: list[str]) -> None:
    orders = [f"POS2025-{n}" for n in range(len(names))]
    rows = [wechat_row(order, 商品名称=name) for order, name in zip(orders, names, strict=True)]
    try:
        summary, _ = reconciled(wechat_bill(rows).encode(), "wechat", [*map(Sold, orders)])
    except BadFile:
        pass  # a name that looks like rows of its own
    else:
        matched = summary.findings["matched"].count
        assert matched + summary.bad_rows == len(names)
        assert matched == len(names) or any(",`" in name for name in names)


@pytest.mark.parametrize("dropped", [2, 3])
def test_a_row_that_is_missing_is_known_by_the_totals(dropped: int) -> None:
    lines = BILL.splitlines(keepends=True)
    del lines[dropped - 1]
    bad = fault_of("".join(lines).encode(), "wechat")
    assert (bad.fault, bad.facts) == (
        "totals_differ", {"total": "总交易单数", "stated": "2", "read": "1"},
    )  # fmt: skip


def test_an_amount_that_was_changed_is_known_by_the_totals() -> None:
    bad = fault_of(BILL.replace("`7998.67,`0.00", "`7998.76,`0.00", 1).encode(), "wechat")
    assert (bad.fault, bad.facts["total"]) == ("totals_differ", "订单总金额")
    assert "15997.34" in str(bad) and "15997.43" in str(bad)


def test_what_is_no_total_is_not_repeated() -> None:
    bad = fault_of(BILL.replace("\n`2,", "\n`某人,").encode(), "wechat")
    assert (bad.fault, bad.facts["stated"]) == ("totals_differ", "?")


def test_a_bill_that_is_cut_has_no_totals() -> None:
    whole = BILL.encode()
    trailer = whole.index("总交易".encode())
    for end in (trailer, trailer - 8, whole.rindex(b"\r\n`")):
        assert fault_of(whole[:end], "wechat").fault == "no_totals"
    bad = fault_of(whole[: whole.index("空调".encode()) + 4], "wechat")  # in a character
    assert (bad.fault, bad.facts) == ("bad_character", {"line": "2"})


def test_a_file_of_another_kind_is_refused() -> None:
    for body in ("a,b\n1,2\n", f"{BILL}more\r\n", BILL.replace("\n`", "\n", 1)):
        assert fault_of(body.encode(), "wechat").fault == "not_of_profile"
    assert fault_of(b"", "wechat").fault == "no_rows"


def test_lines_that_no_row_begins_are_refused_before_they_fill_the_memory() -> None:
    body = BILL.replace("\r\n总", "\r\n" + "x\n" * 100_000 + "总").encode()
    bad = fault_of(body, "wechat")
    assert bad.fault == "not_of_profile" and int(bad.facts["line"]) < 70_000


def test_a_refund_ties_with_a_sale_that_is_refunded_in_the_books() -> None:
    bill = wechat_bill([*ROWS, wechat_refund("POS2025-1")]).encode()
    refunded = [Sold("POS2025-1", state="refunded"), SALES[1]]
    summary, items = reconciled(bill, "wechat", refunded)
    assert items == []
    assert {n: p.count for n, p in summary.findings.items() if p.count} == {
        "matched": 2, "refunded": 1,
    }  # fmt: skip
    assert summary.findings["refunded"].there_fen == -119_980
    assert findings(bill, "wechat", SALES) == {"matched": 2, "state_differs": 1}
    assert findings(bill, "wechat", SALES[1:]) == {"matched": 1, "missing_here": 2}


def test_more_money_back_than_was_granted_differs() -> None:
    rows = [*ROWS, wechat_refund("POS2025-1"), wechat_refund("POS2025-1")]
    refunded = [Sold("POS2025-1", state="refunded"), SALES[1]]
    assert findings(wechat_bill(rows).encode(), "wechat", refunded) == {
        "matched": 2, "refunded": 1, "amount_differs": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        (["1199.80"], {"refunded": 1}),
        (["2399.60"], {"amount_differs": 1}),
        (["0.01"], {"amount_differs": 1}),
        (["1199.80", "1199.80"], {"refunded": 1, "amount_differs": 1}),
        (["1199.80", "0.01"], {"refunded": 1, "amount_differs": 1}),
        (["0.01", "1199.80"], {"amount_differs": 2}),
        (["1000.00", "199.80"], {"refunded": 2}),
        (["0.00"], {"amount_differs": 1}),
        (["0.00", "1199.80"], {"refunded": 2}),
    ],
)
def test_refunds_are_compared_with_what_came_back_in_the_books(
    amounts: list[str], expected: dict[str, int]
) -> None:
    rows = [wechat_row("POS2025-1", "2399.60"), *(wechat_refund("POS2025-1", a) for a in amounts)]
    partly = Sold("POS2025-1", 239_960, "partly_refunded", returned_fen=119_980)
    summary, items = reconciled(wechat_bill(rows).encode(), "wechat", [partly])
    counts = {name: part.count for name, part in summary.findings.items() if part.count}
    assert counts == {"matched": 1} | expected
    assert summary.joint_rows == 0
    assert len(items) == expected.get("amount_differs", 0)


def test_refunds_of_several_periods_are_compared_by_period_or_in_all() -> None:
    now = Sold("POS2025-1", 100_000, "refunded")
    later = Sold("POS2025-1", 200_000, "refunded", in_period=False)
    for yuan, finding in (
        ("1000.00", "refunded"), ("3000.00", "refunded"),
        ("2000.00", "amount_differs"), ("0.00", "amount_differs"),
    ):  # fmt: skip
        body = wechat_bill([wechat_refund("POS2025-1", yuan)]).encode()
        assert findings(body, "wechat", [now, later])[finding] == 1


def test_a_refund_without_subsidy_differs_if_the_books_know_the_order() -> None:
    bill = wechat_bill([*ROWS, wechat_refund("POS2025-1", "0.00")]).encode()
    assert findings(bill, "wechat", SALES) == {"matched": 2, "state_differs": 1}
    assert findings(bill, "wechat", [Sold("POS2025-1", state="refunded"), SALES[1]]) == {
        "matched": 2, "amount_differs": 1,
    }  # fmt: skip


def test_a_part_of_a_price_that_came_back_is_only_bounded() -> None:
    sale = Sold("POS2025-1", 799_867, "partly_refunded", returned_fen=None)
    for yuan, finding in (("0.01", "refunded"), ("7998.67", "refunded"), ("8000.00", None)):
        body = wechat_bill([wechat_refund("POS2025-1", 申请退款金额=yuan)]).encode()
        named = {"amount": "订单金额", "amount_is": "price"}
        found = findings(body, "wechat", [sale], **named)
        assert found.get(finding or "amount_differs") == 1


def test_a_bill_of_refunds_alone_and_a_revoked_payment() -> None:
    rows = [wechat_refund("POS2025-1", "199.80"), wechat_refund("POS2025-2", 交易状态="REVOKED")]
    partly = Sold("POS2025-1", state="partly_refunded", returned_fen=19_980)
    bill = wechat_bill(rows, WECHAT_REFUND).encode()
    summary, _ = reconciled(bill, "wechat", [partly, Sold("POS2025-2", state="refunded")])
    assert summary.findings["refunded"].there_fen == -139_960


def test_a_state_that_is_not_known_makes_a_bad_row() -> None:
    rows = [*ROWS, wechat_row("X3", 交易状态="USERPAYING"), wechat_row("X4", "much")]
    assert findings(wechat_bill(rows).encode(), "wechat", SALES) == {
        "matched": 2, "kind_unknown": 1, "amount_unreadable": 1,
    }  # fmt: skip


def test_sales_without_subsidy_are_counted_and_no_mismatch() -> None:
    rows = [*ROWS, wechat_row("X3", "0.00"), wechat_refund("X3", "0.00")]
    summary, items = reconciled(wechat_bill(rows).encode(), "wechat", SALES)
    assert (summary.findings["unsubsidised"].count, items) == (2, [])
    # An order that the books do know must have its subsidy.
    known = [*SALES, Sold("X3")]
    assert findings(wechat_bill(rows[:3]).encode(), "wechat", known) == {
        "matched": 2, "amount_differs": 1,
    }  # fmt: skip


def test_named_headings_replace_those_of_the_profile() -> None:
    rows = [wechat_row("X1", 商户数据包="POS2025-1"), wechat_refund("X1", 商户数据包="POS2025-1")]
    price = [Sold("POS2025-1", 799_867, "refunded")]
    named = {"keys": (("order_no", "商户数据包"),), "amount": "订单金额"}
    assert findings(wechat_bill(rows).encode(), "wechat", price, **named) == {
        "matched": 1, "refunded": 1,
    }  # fmt: skip
    assert fault_of(BILL.encode(), "wechat", amount="补贴").facts["columns"] == "补贴"


def test_several_bills_in_one_archive_are_one_table() -> None:
    one, two = wechat_bill(ROWS[:1]), wechat_bill(ROWS[1:])
    both = zipped({"18日.csv": one.encode(), "19日.csv": two.encode()})
    for body in (both, (one + two).encode()):
        summary, items = reconciled(body, "wechat", [Sold("POS2025-1")])
        assert [(item.finding, item.file_line) for item in items] == [("missing_here", 6)]
        assert summary.rows_in_file == summary.rows_accounted == 8
    assert fault_of(zipped({"1.csv": one.encode(), "2.csv": b""}), "wechat").fault == "no_rows"
    other = wechat_bill(ROWS[1:], WECHAT_SUCCESS).encode()
    assert fault_of(zipped({"1.csv": one.encode(), "2.csv": other}), "wechat").facts == {
        "line": "5"
    }


def with_lines(bill: str, at: int, *lines: str) -> bytes:
    """The bill with lines put in, or instead of the last two with `at` = -2."""
    parts = bill.splitlines()
    return "\r\n".join([*parts[:at], *lines, *(parts[at:] if at > 0 else []), ""]).encode()


def test_a_line_without_guards_is_not_swallowed_by_the_whole_row_before_it() -> None:
    plain = ",".join(wechat_row("GHOST-1", "5000.00").values())
    for at in (2, 3):
        bad = fault_of(with_lines(BILL, at, plain), "wechat")
        assert (bad.fault, bad.facts["line"]) == ("not_of_profile", str(at + 1))


@pytest.mark.parametrize("state", ["REFUND", "REVOKED"])
@pytest.mark.parametrize("back", ["0.00", "0.01"])
def test_a_refund_with_money_in_the_payments_column_is_a_bad_row(state: str, back: str) -> None:
    row = wechat_refund("GHOST-1", back, 交易状态=state, 代金券金额="5000.00")
    body = wechat_bill([*ROWS, row]).encode()
    assert findings(body, "wechat", SALES) == {"matched": 2, "sign_contradicts": 1}


def test_a_payment_with_money_in_the_refunds_column_or_below_nothing_is_a_bad_row() -> None:
    rows = [wechat_row("X1", "0.00", 充值券退款金额="5000.00"), wechat_row("X2", "-5000.00")]
    rows += [wechat_refund("X3", "0.00", 代金券金额="much")]
    assert findings(wechat_bill(rows).encode(), "wechat") == {
        "sign_contradicts": 2, "amount_unreadable": 1,
    }  # fmt: skip


@pytest.mark.parametrize("state", ["FAIL", "CHANGE", "PROCESSING"])
def test_a_refund_that_did_not_come_back_is_a_bad_row(state: str) -> None:
    body = wechat_bill([*ROWS, wechat_refund("POS2025-1", 退款状态=state)]).encode()
    refunded = [Sold("POS2025-1", state="refunded"), SALES[1]]
    assert findings(body, "wechat", refunded) == {"matched": 2, "kind_unknown": 1}


@pytest.mark.parametrize("name", ["总交易单数", "`大屏", "总交易单数\r\n`大屏", "`"])
def test_a_line_of_a_goods_name_may_begin_like_a_row_or_like_totals(name: str) -> None:
    rows = [wechat_row("POS2025-1", 商品名称=f"电视\r\n{name}"), ROWS[1]]
    summary, items = reconciled(wechat_bill(rows).encode(), "wechat", SALES)
    assert (summary.findings["matched"].count, items) == (2, [])


def test_a_goods_name_that_looks_like_cells_is_a_bad_row_and_the_totals_are_compared() -> None:
    rows = [wechat_row("POS2025-1", 商品名称="电视,`大屏"), ROWS[1]]
    assert findings(wechat_bill(rows).encode(), "wechat", SALES) == {
        "matched": 1, "missing_there": 1, "too_many_cells": 1,
    }  # fmt: skip
    bad = fault_of(wechat_bill(rows, 订单总金额="1.00").encode(), "wechat")
    assert (bad.fault, bad.facts) == ("row_unclear", {"line": "2", "total": "订单总金额"})
    rows[0] = wechat_row("POS2025-1", 商品名称="电视\r\n`大,`屏")
    assert fault_of(wechat_bill(rows).encode(), "wechat").facts["line"] == "2"


def test_totals_without_a_sum_or_with_a_blank_one_prove_nothing() -> None:
    for lines in (["总交易单数", "`2"], ["总交易单数,手续费总金额", "`2,`0.00"]):
        assert fault_of(with_lines(BILL, -2, *lines), "wechat").fault == "no_totals"
    for values in ("`2", "`2,`"):
        bad = fault_of(with_lines(BILL, -2, "总交易单数,订单总金额", values), "wechat")
        assert (bad.fault, bad.facts) == ("no_totals", {"total": "订单总金额"})


@pytest.mark.parametrize("count", ["1e999999", "9" * 5000, "2e0", "٢", "NaN"])
def test_a_count_that_is_no_number_of_rows_differs(count: str) -> None:
    bad = fault_of(wechat_bill(ROWS, 总交易单数=count).encode(), "wechat")
    assert (bad.fault, bad.facts["stated"]) == ("totals_differ", "?")


@given(
    at=st.integers(0, 4),
    width=st.integers(15, 27),
    guard=st.sampled_from(["`", "", "#", "总交易单数,`"]),
    counted=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_a_row_that_is_put_in_anywhere_is_seen(
    at: int, width: int, guard: str, counted: bool
) -> None:
    ghost = wechat_row("GHOST-1", "5000.00")
    cells = [ghost.get(name, "") for name in WECHAT_ALL[:width]]
    between = ",`" if guard != "" else ","
    lines = wechat_bill(ROWS, 总交易单数="3" if counted else "2").splitlines()
    lines.insert(at, guard + between.join(cells))
    try:
        summary, items = reconciled("\r\n".join(lines).encode(), "wechat", SALES)
    except BadFile:
        return
    assert items, summary
