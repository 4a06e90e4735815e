"""`--profile` and `profile=`: a platform's file goes in with one option."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli.commands import app
from service.finance.files import archive
from service.finance.files.profiles import PROFILES
from service.finance.files.profiles.profile import ProfileName
from tests.conftest import House
from tests.finance.bills import (
    PAYOUT_APPLIANCES,
    YJHX_COLUMNS,
    alipay_list,
    alipay_row,
    alipay_zip,
    fault_of,
    payout_row,
    unionpay_zip,
    wechat_bill,
    wechat_refund,
    wechat_row,
    workbook,
    yjhx_row,
    zipped,
    zm_record,
)
from tests.finance.books import claim_some, refund
from tests.finance.reconciling import DAY, counts, ended

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


async def sold(house: House, count: int) -> list[tuple[str, str, int]]:
    """(claim, order, subsidy in fen) of some sales."""
    await claim_some(house, count)
    rows = await house.sql(
        "SELECT claim_id::text, order_no, subsidy_fen FROM claim ORDER BY claim_id"
    )
    return [(row["claim_id"], row["order_no"], row["subsidy_fen"]) for row in rows]


async def reconcile(house: House, body: bytes, **query: str) -> dict[str, Any]:
    async with house.client("finance") as client:
        answer = await client.post("/v1/reconciliations", params=DAY | query, content=body)
    assert answer.status_code == 202, answer.text
    return await ended(house, answer.headers["location"])


async def command(
    house: House, monkeypatch: pytest.MonkeyPatch, path: Path, *options: str
) -> tuple[int, str]:
    """(exit code, output)"""
    monkeypatch.setenv("BUTIE_DATABASE_URL", str(house.settings.database_url))
    monkeypatch.setenv("BUTIE_REDIS_URL", str(house.settings.redis_url))
    days = ["--from", DAY["from"], "--to", DAY["to"]]
    result = await asyncio.to_thread(
        CliRunner().invoke, app, ["reconcile", str(path), *days, *options]
    )
    return result.exit_code, " ".join(result.output.split())


async def test_a_wechat_bill_goes_in_as_it_was_downloaded(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sales = await sold(house, 3)
    await refund(house, sales[0][0])
    rows = [wechat_row(order, f"{fen / 100:.2f}") for _, order, fen in sales]
    rows += [wechat_refund(sales[0][1], f"{sales[0][2] / 100:.2f}"), wechat_row("OTHER", "0.00")]
    body = zipped({"1900000001ALL2025-06-18.csv": wechat_bill(rows).encode("utf-8-sig")})

    shown = await reconcile(house, body, profile="wechat")
    assert counts(shown) == {"matched": 3, "refunded": 1, "unsubsidised": 1}
    summary = shown["summary"]
    assert (summary["rows_in_file"], summary["rows_accounted"]) == (8, 8)
    assert summary["totals"][0] == {"name": "总交易单数", "stated": "5", "read": "5"}
    assert (shown["mapping"]["profile"], shown["mapping"]["amount"]) == ("wechat", "代金券金额")

    path = tmp_path / "bill.zip"
    path.write_bytes(body)
    code, output = await command(house, monkeypatch, path, "--profile", "wechat")
    assert code == 0, output
    assert "own totals: 总交易单数 5, 应结订单总金额 31994.68" in output
    path.write_bytes(wechat_bill(rows[1:], 总交易单数="5").encode())
    code, output = await command(house, monkeypatch, path, "--profile", "wechat")
    assert code == 2 and "总交易单数 is 5, and the rows add up to 4" in output
    path.write_bytes(wechat_bill(rows[2:]).encode())
    code, output = await command(house, monkeypatch, path, "--profile", "wechat")
    assert code == 1 and "missing_there │ 2" in output


async def test_a_refund_in_a_later_period_finds_its_sale(house: House) -> None:
    """The sale was booked long before the days around the period."""
    ((claim_id, order, fen),) = await sold(house, 1)
    await house.sql(
        "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
        " retailer_id, store_id, claim_id, line_no, category, policy)"
        " SELECT jurisdiction, 'refund', booked_on + 20, booked_at, pool, -amount_fen,"
        " retailer_id, store_id, claim_id, line_no, category, policy FROM journal"
        " WHERE claim_id = $1::uuid",
        claim_id,
    )
    body = wechat_bill([wechat_refund(order, f"{fen / 100:.2f}")]).encode()
    late = {"from": "2025-07-08", "to": "2025-07-08"}
    assert counts(await reconcile(house, body, profile="wechat", **late)) == {"refunded": 1}
    too_late = {"from": "2025-07-28", "to": "2025-07-28"}
    assert counts(await reconcile(house, body, profile="wechat", **too_late)) == {"missing_here": 1}


async def test_refunds_of_a_bill_are_compared_with_those_of_the_journal(house: House) -> None:
    """A part of a sale came back in the period, and the rest of it later."""
    ((claim_id, order, fen),) = await sold(house, 1)
    await refund(house, claim_id)
    await house.sql(
        "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
        " retailer_id, store_id, claim_id, line_no, category, policy)"
        " SELECT jurisdiction, kind, CASE kind WHEN 'refund' THEN booked_on + 20 ELSE booked_on"
        " END, booked_at, pool, amount_fen, retailer_id, store_id, claim_id, 2, category, policy"
        " FROM journal WHERE claim_id = $1::uuid",
        claim_id,
    )
    for amount, finding in (
        (fen, "refunded"), (2 * fen, "refunded"), (1, "amount_differs"),
        (2 * fen + 1, "amount_differs"),
    ):  # fmt: skip
        rows = [wechat_row(order, yuan(2 * fen)), wechat_refund(order, yuan(amount))]
        shown = await reconcile(house, wechat_bill(rows).encode(), profile="wechat")
        assert counts(shown) == {"matched": 1, finding: 1}, amount


async def test_payments_and_refunds_of_a_bill_are_paired_with_the_journals(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claim_id, order, fen), (_, other, other_fen) = await sold(house, 2)
    await refund(house, claim_id)
    rows = [wechat_row(order, yuan(fen)), wechat_row(other, yuan(other_fen))]
    rows += [wechat_refund(order, yuan(fen)), wechat_row("OTHER", "0.00")]
    movements = {"profile": "wechat", "rows": "movements"}
    shown = await reconcile(house, wechat_bill(rows).encode(), **movements)
    assert counts(shown) == {"matched": 3} and shown["summary"]["unmoved_rows"] == 1
    twice = wechat_bill([*rows, rows[2]]).encode()
    assert counts(await reconcile(house, twice, **movements)) == {"matched": 3, "duplicate": 1}
    none = wechat_bill(rows[:2]).encode()
    assert counts(await reconcile(house, none, **movements)) == {"matched": 2, "missing_there": 1}
    near = [payout_row(order, (fen + 1) / 100), payout_row(other, (other_fen + 2) / 100)]
    body = workbook(PAYOUT_APPLIANCES, [*near, payout_row(order, -fen / 100)])
    shown = await reconcile(house, body, profile="payout", rows="movements")
    assert counts(shown) == {"rounding": 1, "amount_differs": 1, "matched": 1}
    path = tmp_path / "bill.csv"
    path.write_bytes(wechat_bill(rows).encode())
    options = ["--profile", "wechat", "--rows", "movements"]
    code, output = await command(house, monkeypatch, path, *options)
    assert code == 0 and "1 that moved no money" in output, output
    assert (await command(house, monkeypatch, path, *options, "--refund", "退款金额"))[0] == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"profile": "yjhx", "rows": "movements"}, "query"),
        ({"profile": "wechat", "rows": "movements", "refund": "退款金额"}, "query"),
        ({"profile": "wechat", "skip": "1"}, "query"),
        ({"profile": "wechat", "unit": "yuan"}, "query"),
        ({"profile": "paypal"}, "query.profile"),
        ({"order_no": "订单号"}, "query.amount"),
        ({"profile": "wechat", "store_id": "门店"}, "query"),
        ({"profile": "wechat", "states": "SUCCESS:confirmed"}, "query"),
    ],
)
async def test_a_query_that_cannot_be_is_refused(
    house: House, query: dict[str, str], field: str
) -> None:
    async with house.client("finance") as client:
        answer = await client.post("/v1/reconciliations", params=DAY | query, content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), answer.text
    assert [error["field"] for error in answer.json()["fields"]] == [field]


async def test_a_file_of_another_platform_is_refused_at_once(house: House) -> None:
    async with house.client("finance") as client:
        answer = await client.post(
            "/v1/reconciliations", params=DAY | {"profile": "wechat"}, content=b"a,b\n1,2\n"
        )
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_file")
    assert "wechat" in answer.json()["detail"]


@pytest.mark.parametrize(
    "options",
    [["--profile", "wechat", "--skip", "1"], ["--order-no", "a"], ["--profile", "paypal"]],
)
async def test_options_that_cannot_be_exit_with_2(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    path = tmp_path / "bill.csv"
    path.write_bytes(b"")
    code, output = await command(house, monkeypatch, path, *options)
    assert code == 2 and output


def yuan(fen: int) -> str:
    return f"{fen / 100:.2f}"


async def test_every_platforms_file_matches_the_books(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await claim_some(house, 2)
    await house.sql("UPDATE claim SET order_no = 'POS' || right(order_no, 1)")
    sales = await house.sql("SELECT order_no, subsidy_fen, price_fen FROM claim ORDER BY 1")
    bills = {
        "alipay": alipay_zip(alipay_list([alipay_row(o, yuan(fen)) for o, fen, _ in sales])),
        "unionpay": unionpay_zip([zm_record(o, f"C{fen:012}") for o, fen, _ in sales]),
        "payout": workbook(PAYOUT_APPLIANCES, [payout_row(o, fen / 100) for o, fen, _ in sales]),
        "yjhx": workbook(
            YJHX_COLUMNS,
            [yjhx_row(o, n, 发票金额=yuan(fen)) for n, (o, _, fen) in enumerate(sales)],
            "明细",
        ),
    }
    assert bills.keys() | {"wechat"} == PROFILES.keys()
    path = tmp_path / "bill"
    for profile, body in bills.items():
        assert counts(await reconcile(house, body, profile=profile)) == {"matched": 2}, profile
        path.write_bytes(body)
        code, output = await command(house, monkeypatch, path, "--profile", profile)
        assert (code, "nothing proves" in output) == (0, profile != "alipay"), output
    path.write_bytes(
        workbook(PAYOUT_APPLIANCES, [payout_row(o, (f + 1) / 100) for o, f, _ in sales])
    )
    code, output = await command(house, monkeypatch, path, "--profile", "payout")
    assert code == 0 and "rounding │ 2" in output, output


async def test_prices_of_lines_are_compared_by_serial_numbers(house: House) -> None:
    await claim_some(house, 2)
    sales = await house.sql("SELECT serial_no, price_fen FROM claim_line")
    rows = [
        yjhx_row("x", n, **{"S/N码": serial, "发票金额": yuan(fen)})
        for n, (serial, fen) in enumerate(sales)
    ]
    body = workbook(YJHX_COLUMNS, rows)
    shown = await reconcile(house, body, profile="yjhx", serial_no="S/N码")
    assert counts(shown) == {"matched": 2}
    named = await reconcile(house, body, serial_no="S/N码", amount="发票金额", amount_is="price")
    assert counts(named) == {"matched": 2}


@pytest.mark.parametrize("profile", PROFILES)
def test_archives_that_are_not_to_be_unpacked_are_refused(
    profile: ProfileName, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = zipped({"bill.csv": b"a"})
    assert fault_of(zipped({"inner.zip": inner}), profile).fault == "nested_archive"
    monkeypatch.setattr(archive, "UNPACKED_MAX_BYTES", 1000)
    assert fault_of(zipped({"bill.csv": bytes(2000)}), profile).fault == "unpacks_too_large"


@pytest.mark.parametrize("profile", ["wechat", "alipay", "unionpay"])
def test_a_workbook_where_text_belongs_is_refused(profile: ProfileName) -> None:
    body = workbook(PAYOUT_APPLIANCES, [payout_row("P1")])
    assert fault_of(body, profile).fault == "not_of_profile"
    assert fault_of("商户订单号\n".encode(), profile, sheet="明细").fault == "no_sheets"
