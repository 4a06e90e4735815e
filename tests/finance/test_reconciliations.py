"""Reconciliations: every difference is found, none invented, and nothing in the books changes."""

import asyncio
import csv
import gc
import io
import json
import os
import signal
import sys
from typing import Any

import httpx
import pytest
import xlsxwriter

from service.finance.files.open import open_table
from service.finance.reconcile import reconciliations
from service.finance.reconcile.run import FindingTotal, ReconcileSummary
from tests.conftest import House
from tests.finance.books import PLACE, claim_some, close, refund
from tests.finance.reconciling import COLUMNS, DAY, HEADING, WORDS, counts, ended, ties_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


async def send(house: House, body: bytes, **query: Any) -> httpx.Response:
    async with house.client("finance") as client:
        return await client.post("/v1/reconciliations", params={**DAY, **query}, content=body)


async def reconcile(house: House, body: bytes, **query: Any) -> dict[str, Any]:
    """To its end; returns it as it is shown."""
    answer = await send(house, body, **{**COLUMNS, **WORDS, **query})
    assert answer.status_code == 202, answer.text
    return await ended(house, answer.headers["location"])


async def items(house: House, shown: dict[str, Any], **query: Any) -> list[dict[str, str]]:
    async with house.client("finance") as client:
        path = f"/v1/reconciliations/{shown['reconciliation_id']}/items"
        answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


async def amounts(house: House) -> dict[str, int]:
    rows = await house.sql(
        "SELECT claim_id::text, sum(amount_fen)::bigint AS fen FROM journal"
        " WHERE kind = 'grant' GROUP BY 1"
    )
    return {row["claim_id"]: row["fen"] for row in rows}


def sheet(rows: list[tuple[Any, ...]]) -> bytes:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    page = book.add_worksheet()
    for at, row in enumerate([HEADING.split(","), *rows]):
        page.write_row(at, 0, row)
    book.close()
    return file.getvalue()


def lines(rows: list[tuple[Any, ...]]) -> bytes:
    return "\n".join([HEADING, *(",".join(map(str, row)) for row in rows)]).encode()


@pytest.mark.parametrize("encode", [lines, sheet])
async def test_every_kind_of_difference_is_found(house: House, encode: Any) -> None:
    claims = await claim_some(house, 7)
    granted = await amounts(house)
    await refund(house, claims[0])
    await refund(house, claims[1])

    def row(claim_id: str, state: str = "成功", more_fen: int = 0) -> tuple[Any, ...]:
        return claim_id, f"{(granted[claim_id] + more_fen) / 100:.2f}", state

    absent = "019780c3-c9da-76f1-8a29-36f05201f175"
    body = encode(
        [
            row(claims[0], "已退款"),
            row(claims[1]),  # line 3: refunded here
            row(claims[2], more_fen=1),  # line 4
            row(claims[3]),
            row(claims[3]),  # line 6: a duplicate
            row(claims[4]),
            (absent, "150.00", "成功"),  # line 8
            ("", "150.00", "成功"),  # line 9
            (claims[5], "much", "成功"),  # line 10
            (claims[5], "1.00", "完了"),  # line 11
        ]
    )
    shown = await reconcile(house, body)
    assert counts(shown) == {
        "matched": 3, "state_differs": 1, "amount_differs": 1, "duplicate": 1,
        "missing_here": 1, "missing_there": 2,
    }  # fmt: skip
    listed = {
        (item["finding"], item["file_line"], item["claim_id"]) for item in await items(house, shown)
    }
    assert listed == {
        ("state_differs", "3", claims[1]),
        ("amount_differs", "4", claims[2]),
        ("duplicate", "6", ""),
        ("missing_here", "8", ""),
        ("missing_there", "", claims[5]),
        ("missing_there", "", claims[6]),
        ("bad_row", "9", ""),
        ("bad_row", "10", ""),
        ("bad_row", "11", ""),
    }
    assert [(row["line"], row["why"]) for row in shown["bad_rows"]] == [
        (9, "key_missing"), (10, "amount_unreadable"), (11, "state_unmapped"),
    ]  # fmt: skip
    ties(shown["summary"])
    assert shown["summary"]["here_fen"] == sum(granted.values())


def ties(summary: dict[str, Any]) -> None:
    """Each good row and each unit of the period is in one finding, to the fen."""
    findings = {name: FindingTotal(**part) for name, part in summary["findings"].items()}
    ties_of(
        ReconcileSummary(
            **{**summary, "findings": findings, "other_days": FindingTotal(**summary["other_days"])}
        )
    )


async def test_nothing_in_the_books_is_changed_by_it(house: House) -> None:
    claims = await claim_some(house, 3)
    await close(house)
    tables = ("journal", "journal_day", "journal_seal", "claim", "claim_line", "pool", "settlement")
    books = "SELECT " + ", ".join(
        f"(SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} AS t)"
        for table in tables
    )
    before = await house.sql(books)
    await reconcile(house, lines([(claims[0], "999", "成功"), ("nonsense", "1", "x")]))
    assert await house.sql(books) == before


async def test_a_sale_booked_after_midnight_matches_and_is_told(house: House) -> None:
    await close(house)  # what comes now is booked on the 19th
    (late,) = await claim_some(house, 1)
    (fen,) = (await amounts(house)).values()
    shown = await reconcile(house, lines([(late, fen / 100, "成功")]))
    assert counts(shown) == {"matched": 1}
    assert shown["summary"]["other_days"] == {"count": 1, "here_fen": fen, "there_fen": fen}
    assert shown["summary"]["units"] == 0
    ties(shown["summary"])
    none = await reconcile(house, lines([]))
    assert counts(none) == {}  # another day's sale is not missed on this one


async def test_orders_lines_and_serials_can_be_matched_by(house: House) -> None:
    claims = await claim_some(house, 2)
    rows = await house.sql(
        "SELECT c.claim_id::text, order_no, serial_no, line_no, c.store_id, l.subsidy_fen AS fen"
        " FROM claim AS c JOIN claim_line AS l USING (claim_id) ORDER BY serial_no"
    )
    text = "claim,order,store,line,serial,fen\n" + "\n".join(
        f"{r['claim_id']},{r['order_no']},{r['store_id']},{r['line_no']},"
        f"{r['serial_no'].lower()},{r['fen']}"
        for r in rows
    )
    for keys in (
        {"order_no": "order"},
        {"order_no": "order", "store_id": "store"},
        {"serial_no": "serial"},
        {"claim_id": "claim", "line_no": "line"},
    ):
        answer = await send(house, text.encode(), **keys, amount="fen", unit="fen")
        assert answer.status_code == 202, answer.text
        shown = await ended(house, answer.headers["location"])
        assert counts(shown) == {"matched": 2}, keys
    assert len(claims) == 2


async def test_net_amounts_are_compared_on_request(house: House) -> None:
    first, second = await claim_some(house, 2)
    granted = await amounts(house)
    await refund(house, first)
    rows = [(first, "0.00", "已退款"), (second, granted[second] / 100, "成功")]
    assert counts(await reconcile(house, lines(rows), amount_is="net")) == {"matched": 2}
    assert counts(await reconcile(house, lines(rows))) == {"amount_differs": 1, "matched": 1}


async def test_a_cancelled_claim_that_the_file_calls_paid_differs_in_state(house: House) -> None:
    held = await house.claim("k", hold=True)
    claim_id = held.json()["claim_id"]
    async with house.client() as client:
        assert (await client.post(f"/v1/claims/{claim_id}/cancel")).status_code == 200
    shown = await reconcile(house, lines([(claim_id, "1199.80", "成功")]))
    assert counts(shown) == {"state_differs": 1}
    (item,) = await items(house, shown)
    assert (item["here_state"], item["there_state"], item["here_fen"]) == (
        "cancelled",
        "confirmed",
        "0",
    )
    assert counts(await reconcile(house, lines([]))) == {}  # it took no money: nobody misses it


@pytest.mark.parametrize(
    "body",
    [
        f"\ufeff{HEADING}\r\n".encode() + "{},{},成功\r\n".encode(),
        (HEADING + "\n{},{},成功").encode("gb18030"),
        ("#账单\n\n" + HEADING + "\n`{},¥{} ,成功\n#合计,,").encode(),
        ("two lines\nbefore it\n" + HEADING + '\n"{}","{}",成功\n').encode(),
    ],
)
async def test_files_as_others_write_them_are_read(house: House, body: bytes) -> None:
    (claim_id,) = await claim_some(house, 1)
    (fen,) = (await amounts(house)).values()
    skip = 2 if body.startswith(b"two") else 0
    body = body.replace(b"{}", claim_id.encode(), 1).replace(b"{}", f"{fen / 100:.2f}".encode(), 1)
    assert counts(await reconcile(house, body, skip=skip)) == {"matched": 1}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "no heading"),
        (b"a,b,c\n1,2,3\n", "单号, 补贴, 状态"),
        ("单号;补贴;状态\n1;2;3\n".encode(), "part a csv by commas"),
        ("单号,补贴,补贴,状态\n1,2,3,4\n".encode(), "more than once: 补贴"),
        (b'\xef\xbb\xbf"' + b"x" * 200_000, "line 1"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "save it as .xlsx without a password"),
        ("#账单\n单号,金额,状态\n".encode(), "lacks the columns 补贴"),
        ('单号,补贴,"状态\n1,2,3\n'.encode(), "a quotation mark in line 1"),
    ],
)
async def test_a_file_of_no_use_is_refused_at_once(house: House, body: bytes, detail: str) -> None:
    async with house.client("finance") as client:
        answer = await client.post(
            "/v1/reconciliations",
            params={**DAY, **COLUMNS},
            content=body,
            headers={"Accept-Language": "en"},
        )
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_file")
    assert detail in answer.json()["detail"]
    assert await house.sql("SELECT FROM reconciliation") == []


@pytest.mark.parametrize("body", [b"PK\x03\x04 no workbook", sheet([])[:-40]])
async def test_a_spoilt_workbook_fails_with_a_sentence(house: House, body: bytes) -> None:
    shown = await reconcile(house, body)
    assert (shown["state"], shown["fault"]["code"]) == ("failed", "unreadable")


@pytest.mark.parametrize(
    "query",
    [
        {"amount": "a"},
        {"amount": "a", "line_no": "n"},
        {"claim_id": "c"},
        {**COLUMNS, "states": "paid"},
        {**COLUMNS, "states": "paid:gone"},
        {key: value for key, value in COLUMNS.items() if key != "state"}
        | {"states": "a:confirmed"},
        {**COLUMNS, "unit": "dollar"},
        {**COLUMNS, "from": "2025-06-19"},
        {**COLUMNS, "from": "1748736000"},
        {**COLUMNS, "order_no": ["a", "b"]},
        {**COLUMNS, "colour": "red"},
    ],
)
async def test_a_bad_mapping_gets_a_sentence(house: House, query: dict[str, Any]) -> None:
    answer = await send(house, HEADING.encode(), **query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert "取值无效" not in answer.json()["detail"], answer.text


async def test_a_form_is_told_to_send_the_file_itself(house: House) -> None:
    async with house.client("finance") as client:
        answer = await client.post(
            "/v1/reconciliations", params={**DAY, **COLUMNS}, files={"file": b"x"}
        )
    assert (answer.status_code, answer.json()["code"]) == (415, "file_expected")


async def test_only_so_many_run_at_once(house: House) -> None:
    for n in range(reconciliations.RUNNING_MAX):
        await pretend_to_run(house, n)
    answer = await send(house, HEADING.encode(), **COLUMNS)
    assert (answer.status_code, answer.json()["code"]) == (429, "reconciliations_running")
    await house.sql("UPDATE reconciliation SET beat_at = now() - interval '10 minutes'")
    assert counts(await reconcile(house, lines([]))) == {}  # the dead are no hindrance
    async with house.client("finance") as client:
        newest = (await client.get("/v1/reconciliations")).json()["reconciliations"]
    faults = [
        reconciliation["fault"] and reconciliation["fault"]["code"] for reconciliation in newest
    ]
    assert sorted(map(str, faults)) == ["None", "interrupted", "interrupted"]


async def pretend_to_run(house: House, n: int) -> str:
    number = f"019780c3-c9da-76f1-8a29-36f0520{n:05d}"
    await house.sql(
        "INSERT INTO reconciliation (jurisdiction, reconciliation_id, from_on, to_on, mapping,"
        " file_sha256, file_bytes, state, asked_by, asked_at) VALUES ($1, $2, '2025-06-18',"
        " '2025-06-18', '{}', '', 0, 'running', 'k', now())",
        PLACE,
        number,
    )
    return number


async def test_a_run_that_is_killed_fails_and_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claim_id,) = await claim_some(house, 1)
    # The run waits for this booking, so it is there to be killed.
    async with house.service.engine.connect() as slow:
        await slow.exec_driver_sql(
            "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
            " document_no) VALUES ('330402', 'allocation', '2025-06-18', now(), 'cars', 1, 'SLOW')"
        )
        answer = await send(house, lines([(claim_id, 1, "成功")]), **{**COLUMNS, **WORDS})
        path = answer.headers["location"]
        (process,) = house.service.finance.reconciliations._processes.values()
        async with house.client("finance") as client:
            assert (await client.get(path)).json()["state"] == "running"
            assert (await client.get(f"{path}/items")).json()["code"] == "wrong_state"
        os.kill(process.pid, signal.SIGKILL)
        shown = await ended(house, path)
        await slow.rollback()
    assert (shown["state"], shown["fault"]["code"]) == ("failed", "interrupted")
    assert shown["ended_at"] is not None
    assert await house.sql("SELECT FROM reconciliation_item") == []


async def test_a_run_that_is_done_ends_without_a_fault(house: House) -> None:
    (claim_id,) = await claim_some(house, 1)
    for _ in range(3):
        async with house.service.engine.connect() as slow:
            # The run waits for this booking, so its process is there to be watched.
            await slow.exec_driver_sql(
                "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
                " document_no)"
                " VALUES ('330402', 'allocation', '2025-06-18', now(), 'cars', 1, 'SLOW')"
            )
            answer = await send(house, lines([(claim_id, 1, "成功")]), **{**COLUMNS, **WORDS})
            (process,) = house.service.finance.reconciliations._processes.values()
            await slow.rollback()
        assert (await ended(house, answer.headers["location"]))["state"] == "done"
        assert await process.wait() == 0


async def test_a_run_declared_dead_keeps_nothing(house: House) -> None:
    (claim_id,) = await claim_some(house, 1)
    async with house.service.engine.connect() as slow:
        await slow.exec_driver_sql(
            "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
            " document_no) VALUES ('330402', 'allocation', '2025-06-18', now(), 'cars', 1, 'SLOW')"
        )
        answer = await send(house, lines([(claim_id, 1, "成功")]), **{**COLUMNS, **WORDS})
        (process,) = house.service.finance.reconciliations._processes.values()
        await house.sql("UPDATE reconciliation SET beat_at = now() - interval '10 minutes'")
        shown = await ended(house, answer.headers["location"])
        await slow.rollback()
    assert shown["fault"]["code"] == "interrupted"
    async with asyncio.timeout(30):
        await process.wait()
    assert await house.sql("SELECT FROM reconciliation_item") == []


async def test_the_list_comes_as_ndjson_filtered_and_defused(house: House) -> None:
    text = "order,yuan\n=1+1,1.00\nplain,2.00\nplain,2.00\n"
    answer = await send(house, text.encode(), order_no="order", amount="yuan", matched="true")
    shown = await ended(house, answer.headers["location"])
    rows = await items(house, shown, names="zh", bom="true")
    assert [row["匹配键"] for row in rows] == ["'=1+1", "plain", "plain"]
    async with house.client("finance") as client:
        path = f"{answer.headers['location']}/items"
        listing = await client.get(path, params={"format": "ndjson", "finding": "duplicate"})
        nowhere = await client.get("/v1/reconciliations/019780c3-c9da-76f1-8a29-36f05201f175/items")
    (item,) = map(json.loads, listing.text.splitlines())
    assert (item["key"], item["file_line"], item["there_fen"]) == ("plain", 4, 200)
    assert nowhere.status_code == 404


def test_rows_that_are_left_in_the_middle_of_a_closed_file_make_no_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault leaves the heading's row before its file is closed, and dies with it after that."""
    noise: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", noise.append)
    file = io.BytesIO(b"a,b\n1,2\n")
    rows = iter(open_table(file))
    assert next(rows) == (1, ["a", "b"])
    file.close()
    del rows
    gc.collect()
    assert noise == []
