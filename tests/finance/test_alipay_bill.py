"""Alipay's zip goes in as it is downloaded, and the totals of its list prove that it is whole."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.finance.files.faults import BadFile
from tests.finance.bills import (
    ALIPAY_22,
    ALIPAY_25,
    ALIPAY_SUMMARY,
    Sold,
    alipay_list,
    alipay_refund,
    alipay_row,
    alipay_summary,
    alipay_zip,
    fault_of,
    findings,
    reconciled,
    zipped,
)

SALES = [Sold("POS2025-1"), Sold("POS2025-2")]
ROWS = [alipay_row("POS2025-1"), alipay_row("POS2025-2")]
LIST = alipay_list(ROWS)


def test_the_zip_is_read_and_every_line_of_it_is_accounted_for() -> None:
    summary, items = reconciled(alipay_zip(LIST), "alipay", SALES)
    assert (summary.findings["matched"].count, items) == (2, [])
    assert (summary.heading_rows, summary.remarks, summary.trailer_rows) == (1, 6, 2 + 7)
    assert summary.rows_in_file == summary.rows_accounted == 18
    assert [(total.name, total.stated) for total in summary.totals] == [
        ("交易合计", "2"), ("交易合计商家实收", "13597.74"), ("交易合计商家优惠", "2399.60"),
        ("退款合计", "0"), ("退款合计商家实收", "0.00"), ("退款合计商家优惠", "0.00"),
        ("汇总 交易订单总笔数", "2"),
    ]  # fmt: skip


@pytest.mark.parametrize("remarks", [0, 1, 5])
@pytest.mark.parametrize("columns", [ALIPAY_25, ALIPAY_22])
def test_any_layout_and_frame_is_read(columns: list[str], remarks: int) -> None:
    text = alipay_list(ROWS, columns, remarks)
    half_width = text.replace("（", "(").replace("）", ")")
    for body in (text.encode("gbk"), half_width.encode("gbk"), gzip.compress(text.encode())):
        assert findings(body, "alipay", SALES) == {"matched": 2}


@pytest.mark.parametrize("amount", ["支付宝优惠（元）", "支付宝优惠(元)"])
def test_the_other_column_of_subsidies_may_be_named(amount: str) -> None:
    rows = [alipay_row("POS2025-1", "0.00", **{"支付宝优惠（元）": "1199.80"})]
    assert findings(alipay_zip(alipay_list(rows)), "alipay", SALES[:1], amount=amount) == {
        "matched": 1
    }


@pytest.mark.parametrize("name", ["65寸,电视,白", "7,5", '55" TV', ",", "#1"])
def test_a_goods_name_and_a_remark_may_have_commas(name: str) -> None:
    rows = [alipay_row("POS2025-1", 商品名称=name), alipay_row("POS2025-2", 备注=name)]
    summary, items = reconciled(alipay_zip(alipay_list(rows)), "alipay", SALES)
    assert (summary.findings["matched"].count, summary.bad_rows, items) == (2, 0, [])


def test_refunds_are_negative_and_tie_with_refunded_sales() -> None:
    text = alipay_list([*ROWS, alipay_refund("POS2025-1")])
    refunded = [Sold("POS2025-1", state="refunded"), SALES[1]]
    summary, items = reconciled(alipay_zip(text), "alipay", refunded)
    assert (summary.findings["refunded"].there_fen, items) == (-119_980, [])
    assert summary.totals[-2].stated == "1199.80"
    assert findings(alipay_zip(text), "alipay", SALES) == {"matched": 2, "state_differs": 1}


@pytest.mark.parametrize("order", ["POS2025-1", "POS2025-2"])
def test_a_row_that_is_missing_is_known_by_the_totals(order: str) -> None:
    text = alipay_list([*ROWS, alipay_refund("POS2025-1"), alipay_refund("POS2025-2")])
    lines = text.splitlines(keepends=True)
    for kind, total in (("交易", "交易合计"), ("退款", "退款合计")):
        kept = [line for line in lines if f"{order}\t,{kind}" not in line]
        bad = fault_of(alipay_zip("".join(kept)), "alipay")
        assert (bad.fault, bad.facts) == (
            "totals_differ", {"total": total, "stated": "2", "read": "1"},
        )  # fmt: skip


def test_a_changed_amount_and_a_cut_list_are_known() -> None:
    bad = fault_of(alipay_zip(LIST.replace("6798.87", "6798.86", 1)), "alipay")
    assert (bad.fault, bad.facts["total"]) == ("totals_differ", "交易合计商家实收")
    for end in (LIST.index("#交易合计"), LIST.rindex("POS2025-2")):
        assert fault_of(alipay_zip(LIST[:end]), "alipay").fault == "no_totals"
    refunds = alipay_list([*ROWS, alipay_refund("POS2025-1")])
    bad = fault_of(alipay_zip(refunds[: refunds.index("#退款合计")]), "alipay")
    assert (bad.fault, bad.facts) == ("no_totals", {"total": "退款合计"})
    cut = LIST.encode("gbk")[: LIST.encode("gbk").index("虚构门店".encode("gbk")) + 1]
    assert fault_of(cut, "alipay").fault == "bad_character"


def test_what_is_not_known_is_a_bad_row() -> None:
    rows = [
        *ROWS, alipay_row("X3", 业务类型="转账"), alipay_row("X4", "-1.00"), alipay_row("X5", "x1"),
    ]  # fmt: skip
    text = alipay_list([*rows[:4]]).replace("#---", "X6\t,short\r\n#---", 2)
    text = text.replace("X6\t,short\r\n", "", 1)
    assert findings(alipay_zip(text), "alipay", SALES) == {
        "matched": 2, "kind_unknown": 1, "sign_contradicts": 1, "too_few_cells": 1,
    }  # fmt: skip


def test_an_archive_without_a_list_is_refused() -> None:
    for body in (zipped({"汇总.csv": ALIPAY_SUMMARY.encode("gbk")}), b"a,b\n1,2\n"):
        assert fault_of(body, "alipay").fault == "not_of_profile"
    assert fault_of(LIST.replace("业务类型", "类型").encode("gbk"), "alipay").facts == {
        "profile": "alipay", "line": "5",
    }  # fmt: skip


def test_two_days_in_one_archive_are_one_table() -> None:
    lists = [alipay_list(ROWS[:1]), alipay_list(ROWS[1:])]
    body = zipped({f"{n}_业务明细.csv": text.encode("gbk") for n, text in enumerate(lists)})
    for content in (body, "".join(lists).encode("gbk")):
        summary, items = reconciled(content, "alipay", SALES)
        assert (summary.findings["matched"].count, items) == (2, [])
        assert summary.rows_in_file == summary.rows_accounted == 20


GHOST = alipay_row("GHOST-1", "5000.00")


def test_a_second_list_in_another_encoding_is_a_list() -> None:
    for encoding in ("utf-16", "gbk", "utf-8-sig"):
        second = alipay_list([GHOST]).encode(encoding)
        body = zipped({"1_业务明细.csv": LIST.encode("gbk"), "2_业务明细.csv": second})
        assert findings(body, "alipay", SALES) == {"matched": 2, "missing_here": 1}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("微信.csv", "交易时间,商户单号,金额\n2025-06-18,GHOST-1,5000.00\n"),
        ("业务明细.csv", ALIPAY_SUMMARY),
        ("汇总.csv", "交易时间,商户单号,金额\n2025-06-18,GHOST-1,5000.00\n"),
        ("汇总.csv", "#业务汇总\n交易时间,商户单号,金额\n2025-06-18,GHOST-1,5000.00\n"),
        ("汇总.csv", alipay_list([GHOST])),
        ("汇总.csv", ALIPAY_SUMMARY + alipay_list([GHOST])),
        ("汇总.csv", "#业务汇总\n"),
        ("汇总.csv", ""),
        ("汇总.csv", ALIPAY_SUMMARY + "GHOST-1,5000.00\n"),
        ("空.csv", ""),
    ],
)
def test_a_member_that_is_neither_a_list_nor_a_summary_is_refused(name: str, content: str) -> None:
    body = zipped({"1_业务明细.csv": LIST.encode("gbk"), name: content.encode("gbk")})
    assert fault_of(body, "alipay").fault in ("not_of_profile", "no_rows")


def test_the_summary_counts_the_sales_of_the_lists() -> None:
    bad = fault_of(alipay_zip(LIST, alipay_summary(6)), "alipay")
    assert (bad.fault, bad.facts["stated"], bad.facts["read"]) == ("totals_differ", "6", "2")
    lines = [line for line in ALIPAY_SUMMARY.splitlines() if not line.startswith("合计")]
    shops = "\n".join([*lines[:4], "NH1,甲,店,1,0,1.00", "NH2,乙店,1,0,1.00", *lines[5:], ""])
    assert findings(alipay_zip(LIST, shops), "alipay", SALES) == {"matched": 2}
    # A zip program that writes names in UTF-8 and does not say so.
    members = {"业务明细.csv": LIST.encode("gbk"), "汇总.csv": ALIPAY_SUMMARY.encode("gbk")}
    assert findings(zipped(members, "utf-8"), "alipay", SALES) == {"matched": 2}


def test_a_row_that_begins_like_a_remark_is_a_row() -> None:
    row = alipay_row("GHOST-1", "5000.00", 支付宝交易号="#2025")
    assert findings(alipay_list([*ROWS, row]).encode(), "alipay", SALES) == {
        "matched": 2, "missing_here": 1,
    }  # fmt: skip
    line = next(line for line in alipay_list([row]).splitlines() if "GHOST" in line)
    for before in ("支付宝交易号", "#退款合计", "#导出时间", "#起始日期"):
        text = LIST.replace(before, f"{line}\r\n{before}", 1)
        bad = fault_of(text.encode(), "alipay")
        assert bad.fault == "not_of_profile", before
    text = LIST.replace("#---", f"{line}\r\n#---").replace(f"{line}\r\n", "", 1)
    assert fault_of(text.encode(), "alipay").fault == "totals_differ"


def test_totals_may_have_commas_but_not_lack_a_sum_or_be_there_twice() -> None:
    text = LIST.replace("13597.74元", "13,597.74元")
    assert findings(text.encode(), "alipay", SALES) == {"matched": 2}
    bad = fault_of(text.replace("13,597.74", "93,597.74").encode(), "alipay")
    assert (bad.fault, bad.facts["stated"]) == ("totals_differ", "93,597.74")
    line = next(line for line in LIST.splitlines() if line.startswith("#交易合计"))
    count, paid, discount = line.split("，")
    for other in (count, f"{count}，{paid}", f"{count}，{discount}", f"{line}\r\n{count}"):
        assert fault_of(LIST.replace(line, other).encode(), "alipay").fault == "no_totals"


@pytest.mark.parametrize("column", ["门店名称", "券名称"])
def test_a_comma_in_another_name_makes_a_bad_row_and_the_totals_are_compared(column: str) -> None:
    text = alipay_list([alipay_row("POS2025-1", **{column: "店A,b店"}), ROWS[1]])
    assert findings(text.encode(), "alipay", SALES) == {
        "matched": 1, "missing_there": 1, "too_many_cells": 1,
    }  # fmt: skip
    bad = fault_of(text.replace("交易合计：2", "交易合计：3").encode(), "alipay")
    assert (bad.fault, bad.facts["line"]) == ("row_unclear", "6")


@given(at=st.integers(0, 9), width=st.integers(17, 25), guard=st.sampled_from(["", "#", "##"]))
@settings(max_examples=300, deadline=None)
def test_a_row_that_is_put_in_anywhere_is_seen(at: int, width: int, guard: str) -> None:
    for sales in (2, 3):
        lines = LIST.replace("交易合计：2", f"交易合计：{sales}").splitlines()
        lines.insert(at, guard + ",".join([GHOST.get(name, "") for name in ALIPAY_25[:width]]))
        try:
            summary, items = reconciled("\r\n".join(lines).encode(), "alipay", SALES)
        except BadFile:
            continue
        assert items, summary
