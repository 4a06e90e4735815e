"""UnionPay's records are cut by bytes, and none of a ZME_ member vanishes."""

import gzip
import io
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from service.finance.files.open import opened_table
from service.finance.files.profiles.profile import ProfileUse
from service.finance.files.profiles.unionpay import NAMES, settlement_day
from tests.finance.bills import (
    ZM_WIDTHS,
    ZME_WIDTHS,
    Sold,
    fault_of,
    findings,
    reconciled,
    record,
    unionpay_zip,
    zipped,
    zm_record,
    zm_refund,
)

SALES = [Sold("POS20250001"), Sold("POS20250002")]
RECORDS = [zm_record("POS20250001"), zm_record("POS20250002")]
DISPUTE = record(ZME_WIDTHS, {1: "E74", 5: "0618101500", 7: "000000799867"})


def rows_of(body: bytes, until: date = date(2025, 6, 18)) -> list[dict[str, Any]]:
    use = ProfileUse("unionpay", "优惠金额", until)
    with opened_table(io.BytesIO(body), use=use) as table:
        _, *rows = table
    return [dict(zip(NAMES, cells, strict=False)) for _, cells in rows]


def test_records_have_the_length_of_the_specification() -> None:
    assert [len(RECORDS[0]), len(DISPUTE)] == [607, 339]
    assert sum(ZM_WIDTHS) == 566 and sum(ZME_WIDTHS) == 318


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_the_zip_and_the_records_alone_are_read(line_end: bytes) -> None:
    alone = line_end.join(RECORDS)
    for body in (unionpay_zip(RECORDS), alone, alone + line_end, gzip.compress(alone)):
        summary, items = reconciled(body, "unionpay", SALES)
        assert (summary.findings["matched"].count, items) == (2, [])
        assert (summary.heading_rows, summary.rows_in_file, summary.totals) == (0, 2, [])


def test_a_refund_is_negative_and_compared_by_the_order_of_its_sale() -> None:
    older = zm_record("POS20250002", "D000000119980", f20="04")  # without a field for it
    refunded = [Sold(sale.order, state="refunded") for sale in SALES]
    body = unionpay_zip([*RECORDS, zm_refund("POS20250001"), older])
    summary, items = reconciled(body, "unionpay", refunded)
    assert (summary.findings["refunded"].there_fen, items) == (-239_960, [])


@pytest.mark.parametrize("separator", [b" ", b"\t", b"|"])
def test_a_name_of_sixteen_characters_fills_its_field(separator: bytes) -> None:
    name = "南湖区虚构家用电器商行第一分店啊"
    assert len(name) == 16
    fields = {12: "POS20250001", 20: "01", 31: name, 36: "C000000119980", 35: "自定义"}
    body = record(ZM_WIDTHS, fields, separator)
    (row,) = rows_of(body)
    assert (row["二级简称"], row["自定义域"], row["优惠金额"]) == (name, "自定义", "C000000119980")
    assert findings(body, "unionpay", SALES[:1]) == {"matched": 1}


def test_a_name_that_the_platform_cut_in_a_character_shifts_nothing() -> None:
    whole = record(ZM_WIDTHS, {12: "POS20250001", 20: "01", 31: "店" * 16, 36: "C000000119980"})
    at = whole.index("店".encode("gbk") * 16) + 31
    body = whole[:at] + b" " + whole[at + 1 :]
    assert findings(body, "unionpay", SALES[:1]) == {"matched": 1}


def test_an_older_layout_has_its_last_two_fields_as_one() -> None:
    body = RECORDS[0][:-131] + b"x" * 131
    assert findings(body, "unionpay", SALES[:1]) == {"matched": 1}


def test_faults_and_chargebacks_are_given_to_a_person() -> None:
    body = unionpay_zip(RECORDS, [DISPUTE, DISPUTE])
    summary, items = reconciled(body, "unionpay", SALES)
    assert [(item.why, item.file_line) for item in items] == [("dispute", 3), ("dispute", 4)]
    assert (summary.findings["matched"].count, summary.rows_in_file) == (2, 4)
    assert findings(DISPUTE + b"\r\n", "unionpay") == {"dispute": 1}


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([zm_record("X20250003", f20="31")], "kind_unknown"),
        ([zm_record("X20250003", "D000000000001")], "sign_contradicts"),
        ([zm_refund("X20250003", "C000000000001")], "sign_contradicts"),
        ([zm_record("X20250003", "C0000000001.0")], "amount_unreadable"),
        ([zm_record("")], "key_missing"),
    ],
)
def test_a_record_that_cannot_be_compared_is_a_bad_row(
    records: Sequence[bytes], reason: str
) -> None:
    body = unionpay_zip([*RECORDS, *records])
    assert findings(body, "unionpay", SALES) == {"matched": 2, reason: 1}


def test_sales_without_subsidy_are_no_mismatch() -> None:
    records = [zm_record("X1", ""), zm_record("X2", "C000000000000")]
    assert findings(unionpay_zip(records), "unionpay") == {"unsubsidised": 2}


@pytest.mark.parametrize("amount", ["交易金额", "清算净额"])
def test_another_amount_may_be_named(amount: str) -> None:
    order = "POS20250001"
    records = [zm_record(order), zm_refund(order, f33="D000000799867")]
    sales = [Sold(order, 799_867, "refunded")]
    assert findings(unionpay_zip(records), "unionpay", sales, amount=amount) == {
        "matched": 1, "refunded": 1,
    }  # fmt: skip


@pytest.mark.parametrize("end", [-1, -300, -607, 100, 607 + 2 + 606])
def test_a_file_that_is_cut_in_a_record_is_refused(end: int) -> None:
    body = b"\r\n".join(RECORDS)[:end]
    if end == -607:  # where a record ends: nothing shows that one is missing
        assert findings(body, "unionpay", SALES) == {"matched": 1, "missing_there": 1}
        return
    bad = fault_of(body, "unionpay")
    line, size = ("1", 100) if end == 100 else ("2", len(body) - 609)
    assert (bad.fault, bad.facts) == (
        "record_cut", {"line": line, "bytes": str(size), "expected": "607"},
    )  # fmt: skip


def test_a_file_saved_in_another_encoding_or_shifted_is_refused() -> None:
    utf8 = RECORDS[0].decode("gbk").encode()
    assert fault_of(utf8, "unionpay").facts["bytes"] == "609"
    shifted = RECORDS[0].replace(b"POS20250001", b"xPOS20250001", 1)[:607]
    assert fault_of(shifted, "unionpay").fault == "record_shifted"
    wrong_name = zipped({"INN25061888ZM_1": DISPUTE})
    assert fault_of(wrong_name, "unionpay").fault == "record_cut"


@pytest.mark.parametrize(
    ("day", "sent", "expected"),
    [
        ("250618", "0618101500", "2025-06-18 10:15:00"),
        ("260101", "1231235959", "2025-12-31 23:59:59"),
        ("260101", "0101000000", "2026-01-01 00:00:00"),
        ("250228", "0229000000", "2024-02-29 00:00:00"),
        ("250618", "9999000000", "9999000000"),
    ],
)
def test_the_year_is_that_of_the_settlement(day: str, sent: str, expected: str) -> None:
    body = unionpay_zip([zm_record("P1", f5=sent)], day=day)
    assert [row["传输时间"] for row in rows_of(body)] == [expected]


def test_records_without_a_name_take_the_year_of_the_period() -> None:
    body = zm_record("P1", f5="1231235959")
    assert rows_of(body, date(2026, 1, 1))[0]["传输时间"] == "2025-12-31 23:59:59"
    assert settlement_day("INN25130188ZM_1") is settlement_day("bill.txt") is None
    assert settlement_day("INN20260101ZM_1") == date(2026, 1, 1)


def test_the_name_of_a_file_in_no_archive_counts(tmp_path: Path) -> None:
    path = tmp_path / "INN26010188ZM_000000000000001"
    path.write_bytes(zm_record("P1", f5="1231235959"))
    with (
        path.open("rb") as file,
        opened_table(file, use=ProfileUse("unionpay", "优惠金额", date(2027, 6, 1))) as table,
    ):
        _, (_, cells) = table
    assert cells[NAMES.index("传输时间")] == "2025-12-31 23:59:59"
