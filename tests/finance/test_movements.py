"""Payments and refunds of a platform's file, paired with the entries that the journal booked."""

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli.commands import app
from service.finance.reconcile.run import FindingTotal, ReconcileSummary
from service.finance.reconcile.signs import PaymentAndRefund, signed_fen
from tests.builders import item_json, resident_id, serial
from tests.conftest import House
from tests.finance.books import close
from tests.finance.reconciling import DAY, counts, ended, movement_ties_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

NEXT_DAY = {"from": "2025-06-19", "to": "2025-06-19"}
BY_ORDER = {"order_no": "订单号", "amount": "金额", "rows": "movements"}
STATES = {"state": "业务类型", "states": "交易:confirmed,退款:refunded,关闭:cancelled"}
HEADING = "订单号,业务类型,金额\n"


async def sale(house: House, order_no: str, n: int, *prices: int) -> str:
    """A sale of pieces; returns the claim. 5,999.00 yuan get 1,199.80, and 3,999.00 get 799.80."""
    categories = ("air_conditioner", "refrigerator")
    items = [
        item_json(line_no=at, category=category, price_fen=fen, serial_no=serial(10 * n + at))
        for at, (category, fen) in enumerate(
            zip(categories, prices or (599_900,), strict=False), start=1
        )
    ]
    answer = await house.claim(
        f"k{n}",
        order_no=order_no,
        consumer={"id_type": "resident_id", "id_number": resident_id(n)},
        items=items,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["claim_id"])


async def give_back(house: House, claim_id: str, *lines: int) -> None:
    async with house.client() as client:
        answer = await client.post(
            f"/v1/claims/{claim_id}/refunds",
            json={"lines": list(lines or (1,)), "reason": "returned"},
            headers={"Idempotency-Key": f"back-{claim_id}-{sum(lines)}"},
        )
    assert answer.status_code == 201, answer.text


async def reconciled(
    house: House, text: str, days: dict[str, str] = DAY, **query: str
) -> dict[str, Any]:
    params = {**days, **BY_ORDER, **query}
    async with house.client("finance") as client:
        answer = await client.post("/v1/reconciliations", params=params, content=text.encode())
    assert answer.status_code == 202, answer.text
    shown = await ended(house, answer.headers["location"])
    assert shown["state"] == "done", shown
    summary = shown["summary"]
    findings = {name: FindingTotal(**part) for name, part in summary["findings"].items()}
    other_days = FindingTotal(**summary["other_days"])
    movement_ties_of(
        ReconcileSummary(**{**summary, "findings": findings, "other_days": other_days})
    )
    return shown


async def listed(house: House, shown: dict[str, Any], **query: str) -> bytes:
    path = f"/v1/reconciliations/{shown['reconciliation_id']}/items"
    async with house.client("finance") as client:
        answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return bytes(answer.content)


async def differences(house: House, shown: dict[str, Any]) -> list[tuple[str, ...]]:
    """(finding, movement, key, here, there) of each, in fen."""
    names = ("finding", "movement", "key", "here_fen", "there_fen")
    rows = csv.DictReader(io.StringIO((await listed(house, shown)).decode(), newline=""))
    return [tuple(row[name] for name in names) for row in rows]


async def four_sales(house: House) -> None:
    for n, order_no in enumerate(("T1", "T2", "202506180000123457", "202506180000123458")):
        await sale(house, order_no, n + 1)


FOUR = "".join(
    f"{order_no},交易,1199.80\n"
    for order_no in ("T1", "T2", "202506180000123457", "202506180000123458")
)


@pytest.mark.parametrize(
    ("back", "query"),
    [
        ("-1199.80", {}),
        ("-1199.80", STATES),
        ("1199.80", STATES),
    ],
)
async def test_a_sale_and_its_refund_tie(house: House, back: str, query: dict[str, str]) -> None:
    await four_sales(house)
    await give_back(house, await sale(house, "T3", 5))
    text = f"{HEADING}{FOUR}T3,交易,1199.80\nT3,退款,{back}\n"
    shown = await reconciled(house, text, **query)
    assert counts(shown) == {"matched": 6}
    summary = shown["summary"]
    assert (summary["here_fen"], summary["there_fen"]) == (4 * 119_980, 4 * 119_980)
    assert (summary["units"], summary["rows_in_file"], summary["rows_accounted"]) == (6, 7, 7)
    assert await differences(house, shown) == []
    assert (shown["mapping"]["rows"], shown["mapping"]["refund"]) == ("movements", None)


async def test_a_refund_in_a_column_of_its_own_ties(house: House) -> None:
    """As WeChat Pay writes it: the refund's row has no sale amount, and its own is positive."""
    await sale(house, "T1", 1)
    await give_back(house, await sale(house, "T3", 3))
    text = (
        "商户订单号,交易状态,代金券金额,充值券退款金额\n"
        "`T1,`SUCCESS,`1199.80,`0.00\n"
        "`T3,`SUCCESS,`1199.80,`0.00\n"
        "`T3,`REFUND,`0.00,`1199.80\n"
        "`T9,`SUCCESS,`0.00,`0.00\n"
    )
    columns = {"order_no": "商户订单号", "amount": "代金券金额", "refund": "充值券退款金额"}
    states = {"state": "交易状态", "states": "SUCCESS:confirmed,REFUND:refunded"}
    for query in (columns, {**columns, **states}):
        shown = await reconciled(house, text, **query)
        assert counts(shown) == {"matched": 3}
        assert shown["summary"]["unmoved_rows"] == 1  # T9 has no subsidy
    both = await reconciled(house, text + "`T3,`SUCCESS,`1199.80,`5.00\n", **columns)
    (bad_row,) = both["bad_rows"]
    assert (bad_row["line"], bad_row["why"]) == (6, "payment_and_refund")


async def test_a_part_refund_ties(house: House) -> None:
    await give_back(house, await sale(house, "T4", 4, 599_900, 399_900), 2)
    shown = await reconciled(house, f"{HEADING}T4,交易,1999.60\nT4,退款,-799.80\n")
    assert counts(shown) == {"matched": 2}
    short = await reconciled(house, f"{HEADING}T4,交易,1999.60\nT4,退款,-700.00\n")
    assert await differences(house, short) == [
        ("amount_differs", "refund", "T4", "-79980", "-70000")
    ]


async def test_an_order_in_two_rows_is_added_up(house: House) -> None:
    claim_id = await sale(house, "T5", 5, 599_900, 399_900)
    await give_back(house, claim_id, 1, 2)
    pieces = "T5,交易,1199.80\nT5,交易,799.80\nT5,退款,-799.80\nT5,退款,-1199.80\n"
    shown = await reconciled(house, HEADING + pieces, matched="true")
    assert counts(shown) == {"matched": 4}
    assert (shown["summary"]["joint_rows"], shown["summary"]["joint_units"]) == (4, 2)
    listing = await differences(house, shown)
    assert sorted(listing) == sorted(
        [
            ("matched", "payment", "T5", "", "119980"),
            ("matched", "payment", "T5", "", "79980"),
            ("matched", "payment", "T5", "199960", ""),
            ("matched", "refund", "T5", "", "-79980"),
            ("matched", "refund", "T5", "", "-119980"),
            ("matched", "refund", "T5", "-199960", ""),
        ]
    )


async def test_two_refunds_of_a_claim_are_two_movements(house: House) -> None:
    claim_id = await sale(house, "T6", 6, 599_900, 399_900)
    await give_back(house, claim_id, 1)
    await give_back(house, claim_id, 2)
    paid = f"{HEADING}T6,交易,1999.60\n"
    both = await reconciled(house, f"{paid}T6,退款,-1199.80\nT6,退款,-799.80\n")
    assert counts(both) == {"matched": 3}
    in_one = await reconciled(house, f"{paid}T6,退款,-1999.60\n")
    assert counts(in_one) == {"matched": 2}
    assert in_one["summary"]["joint_units"] == 2
    one = await reconciled(house, f"{paid}T6,退款,-1199.80\n")
    assert await differences(house, one) == [("missing_there", "refund", "T6", "-79980", "")]


async def test_double_charges_are_duplicates(house: House) -> None:
    await four_sales(house)
    await sale(house, "T5", 5, 599_900, 399_900)
    pieces = "T5,交易,1199.80\nT5,交易,799.80\n"
    again = "T1,交易,1199.80\n202506180000123457,交易,1199.80\nT5,交易,799.80\n"
    shown = await reconciled(house, HEADING + FOUR + pieces + again)
    assert counts(shown) == {"matched": 6, "duplicate": 3}
    assert await differences(house, shown) == [
        ("duplicate", "payment", "202506180000123457", "", "119980"),
        ("duplicate", "payment", "T1", "", "119980"),
        ("duplicate", "payment", "T5", "", "79980"),
    ]


async def test_a_refund_that_only_one_side_has_is_listed(house: House) -> None:
    await sale(house, "T1", 1)
    await give_back(house, await sale(house, "T2", 2))
    paid = f"{HEADING}T1,交易,1199.80\nT2,交易,1199.80\n"
    books_only = await reconciled(house, paid)
    assert await differences(house, books_only) == [
        ("missing_there", "refund", "T2", "-119980", "")
    ]
    other = await reconciled(house, f"{paid}T1,退款,-1199.80\n")
    assert await differences(house, other) == [
        ("missing_here", "refund", "T1", "", "-119980"),
        ("missing_there", "refund", "T2", "-119980", ""),
    ]


async def test_rows_that_moved_no_money_are_counted(house: House) -> None:
    await sale(house, "T1", 1)
    text = f"{HEADING}T1,交易,1199.80\nT2,关闭,1199.80\nT1,退款,0.00\n"
    shown = await reconciled(house, text, **STATES)
    assert counts(shown) == {"matched": 1}
    summary = shown["summary"]
    assert (summary["unmoved_rows"], summary["rows"], summary["rows_accounted"]) == (2, 3, 4)


async def test_a_row_without_money_differs_from_a_movement_of_the_books(house: House) -> None:
    await sale(house, "T1", 1)
    await sale(house, "T2", 2)
    text = f"{HEADING}T1,关闭,1199.80\nT2,交易,0.00\nT2,关闭,1.00\n"
    shown = await reconciled(house, text, **STATES)
    assert await differences(house, shown) == [
        ("state_differs", "payment", "T1", "119980", "0"),
        ("amount_differs", "payment", "T2", "119980", "0"),
    ]
    assert shown["summary"]["unmoved_rows"] == 1


async def test_movements_of_lines_are_paired(house: House) -> None:
    claim_id = await sale(house, "T7", 7, 599_900, 399_900)
    await give_back(house, claim_id, 2)
    text = (
        f"序列号,业务类型,金额\n{serial(71)},交易,1199.80\n{serial(72).lower()},交易,799.80\n"
        f"{serial(72)},退款,-799.80\n"
    )
    params = {**DAY, "serial_no": "序列号", "amount": "金额", "rows": "movements", "matched": "1"}
    async with house.client("finance") as client:
        answer = await client.post("/v1/reconciliations", params=params, content=text.encode())
    shown = await ended(house, answer.headers["location"])
    assert counts(shown) == {"matched": 3}
    listing = await listed(house, shown, format="ndjson")
    items = [json.loads(line) for line in listing.splitlines()]
    assert [(item["line_no"], item["movement"], item["here_state"]) for item in items] == [
        (1, "payment", "confirmed"), (2, "payment", "confirmed"), (2, "refund", "refunded"),
    ]  # fmt: skip


async def test_the_result_of_a_closed_day_never_changes(house: House) -> None:
    claim_id = await sale(house, "T1", 1)
    await sale(house, "T2", 2)
    await close(house)
    text = f"{HEADING}T1,交易,1199.80\nT2,交易,1199.00\nT8,交易,1199.80\nT1,退款,-1199.80\n"
    before = await reconciled(house, text, matched="true")
    assert counts(before) == {"matched": 1, "amount_differs": 1, "missing_here": 2}

    await give_back(house, claim_id)  # both are booked on the 19th
    await sale(house, "T8", 8)
    after = await reconciled(house, text, matched="true")
    assert await listed(house, after) == await listed(house, before)
    assert after["summary"] == before["summary"]

    next_day = await reconciled(house, HEADING, NEXT_DAY)
    assert await differences(house, next_day) == [
        ("missing_there", "refund", "T1", "-119980", ""),
        ("missing_there", "payment", "T8", "119980", ""),
    ]
    both_days = {"from": DAY["from"], "to": NEXT_DAY["to"]}
    whole = await reconciled(house, text, both_days)
    assert counts(whole) == {"matched": 3, "amount_differs": 1}


async def test_a_charge_of_the_next_day_is_not_paired_with_the_former_days(house: House) -> None:
    await sale(house, "T1", 1)
    await close(house)
    shown = await reconciled(house, f"{HEADING}T1,交易,1199.80\n", NEXT_DAY)
    assert counts(shown) == {"missing_here": 1}


async def test_the_sums_are_those_of_the_journal(house: House) -> None:
    claims = [await sale(house, f"T{n}", n) for n in range(1, 5)]
    await give_back(house, claims[0])
    await close(house)
    await give_back(house, claims[1])
    for days in (DAY, NEXT_DAY, {"from": DAY["from"], "to": NEXT_DAY["to"]}):
        shown = await reconciled(house, HEADING, days)
        (booked,) = await house.sql(
            "SELECT coalesce(sum(amount_fen), 0)::bigint, count(*), max(entry_no) FROM journal"
            " WHERE kind <> 'allocation' AND booked_on::text BETWEEN $1 AND $2",
            days["from"],
            days["to"],
        )
        summary = shown["summary"]
        assert (summary["here_fen"], summary["units"], summary["until_entry"]) == tuple(booked)


async def test_the_list_of_sales_is_as_it_was(house: House) -> None:
    await sale(house, "T1", 1)
    shown = await reconciled_sales(house, f"{HEADING}T1,交易,1.00\n")
    listing = await listed(house, shown)
    assert listing.splitlines()[0] == (
        b"item_no,finding,file_line,key,claim_id,line_no,booked_on,here_fen,there_fen,"
        b"here_state,there_state,why"
    )
    assert b"movement" not in await listed(house, shown, format="ndjson")
    movements = await reconciled(house, f"{HEADING}T1,交易,1.00\n,退款,1.00\n")
    listing = await listed(house, movements, names="zh")
    heading, bad_row, row = listing.decode().splitlines()
    assert heading.endswith(",原因,款项")
    assert bad_row.endswith(",key_missing,") and row.endswith(",payment")


async def reconciled_sales(house: House, text: str) -> dict[str, Any]:
    params = {**DAY, "order_no": "订单号", "amount": "金额"}
    async with house.client("finance") as client:
        answer = await client.post("/v1/reconciliations", params=params, content=text.encode())
    return await ended(house, answer.headers["location"])


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"rows": "sales", "refund": "退款金额"}, "add rows=movements"),
        ({"amount_is": "net"}, "leave one of the two out"),
        ({"rows": "claims"}, "must be 'sales' or 'movements'"),
    ],
)
async def test_a_mapping_that_contradicts_itself_is_refused(
    house: House, query: dict[str, str], detail: str
) -> None:
    async with house.client("finance") as client:
        answer = await client.post(
            "/v1/reconciliations",
            params={**DAY, **BY_ORDER, **query},
            content=HEADING.encode(),
            headers={"Accept-Language": "en"},
        )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert detail in answer.json()["detail"]


async def test_a_missing_refund_column_is_named(house: House) -> None:
    async with house.client("finance") as client:
        params = {**DAY, **BY_ORDER, "refund": "退款金额"}
        answer = await client.post("/v1/reconciliations", params=params, content=HEADING.encode())
    assert answer.json()["code"] == "bad_file" and "退款金额" in answer.json()["detail"]


async def command(house: House, path: Path, *more: str) -> Result:
    arguments = ["reconcile", str(path), "--order-no", "订单号", "--amount", "金额"]
    days = ["--from", "2025-06-18", "--to", "2025-06-18"]
    return await asyncio.to_thread(CliRunner().invoke, app, [*arguments, *days, *more])


async def test_the_command_line_pairs_movements_alike(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUTIE_DATABASE_URL", str(house.settings.database_url))
    monkeypatch.setenv("BUTIE_REDIS_URL", str(house.settings.redis_url))
    await give_back(house, await sale(house, "T3", 3))
    path, listing = tmp_path / "bill.csv", tmp_path / "list.csv"
    movements = ["--rows", "movements", "--state", "业务类型", "--states", STATES["states"]]

    text = f"{HEADING}T3,交易,1199.80\nT3,退款,-1199.80\nT4,关闭,5.00\n"
    path.write_text(text, encoding="utf-8")
    tied = await command(house, path, *movements)
    assert tied.exit_code == 0, tied.output
    assert "1 that moved no money, 2 in the other findings" in tied.output
    assert (await command(house, path)).exit_code == 1  # as sales they differ

    text += "T3,交易,1199.80\n,退款,-1.00\n"
    path.write_text(text, encoding="utf-8")
    twice = await command(house, path, *movements, "--list", str(listing), "--matched")
    assert twice.exit_code == 1, twice.output
    shown = await reconciled(house, text, **STATES, matched="true")
    assert listing.read_bytes() == await listed(house, shown)
    assert counts(shown) == {"matched": 2, "duplicate": 1}

    assert (await command(house, path, "--refund", "金额")).exit_code == 2
    net = await command(house, path, *movements, "--amount-is", "net")
    assert net.exit_code == 2 and "--amount-is net" in net.output


@pytest.mark.parametrize(
    ("amount", "refund", "state", "moved"),
    [
        (-500_000, 119_980, None, None),
        (-119_980, 119_980, None, -119_980),
        (-119_980, -119_980, "confirmed", -119_980),
        (119_980, 119_980, None, None),
        (119_980, 119_980, "refunded", -119_980),
        (500_000, 119_980, "refunded", None),
        (500_000, 119_980, "partly_refunded", None),
        (500_000, 119_980, "cancelled", None),
        (-500_000, 119_980, "cancelled", None),
        (0, 119_980, None, -119_980),
    ],
)
def test_an_amount_does_not_vanish_behind_a_refund(
    amount: int, refund: int, state: str | None, moved: int | None
) -> None:
    if moved is None:
        with pytest.raises(PaymentAndRefund):
            signed_fen(amount, refund, state)
    else:
        assert signed_fen(amount, refund, state) == moved
