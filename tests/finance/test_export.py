"""Exports: every entry once, the same bytes for ever, and a cut-off file is noticed."""

import asyncio
import csv
import gzip
import hashlib
import io
import json
import zipfile
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import asyncpg
import httpx
import pyarrow.parquet
import pytest
from backports import zstd
from python_calamine import CalamineWorkbook
from starlette.requests import ClientDisconnect, Request
from typer.testing import CliRunner

from service.api.routes.exports import ExportAnswer, unless_left
from service.cli.commands import app
from service.db.reports import REPORT_CONNECTIONS_MAX
from service.finance.journal import export
from service.finance.journal.columns import EXPORT_COLUMNS, FUNDING_COLUMNS, described
from service.finance.journal.download import Download, NotAsAnnounced
from service.finance.journal.export import Layout
from service.finance.journal.selection import Selection
from service.finance.journal.sums import sum_up
from tests.builders import item_json, resident_id, serial
from tests.conftest import House
from tests.finance.books import PERIOD, PLACE, TODAY, claim_some, close, many_entries, refund

pytestmark = pytest.mark.anyio

NAMES = [column.name for column in EXPORT_COLUMNS]


async def export_of(house: House, **query: Any) -> httpx.Response:
    async with house.client("finance") as client:
        return await client.get("/v1/exports/journal", params={**PERIOD, **query})


async def totals_of(house: House, **query: Any) -> dict[str, Any]:
    async with house.client("finance") as client:
        answer = await client.get("/v1/exports/journal/totals", params={**PERIOD, **query})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def rows_of(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8"), newline="")))


async def books(house: House) -> None:
    first, *_ = await claim_some(house, 3)
    await refund(house, first)
    await close(house)


async def test_every_entry_is_in_the_file_with_its_count_and_sum(house: House) -> None:
    await books(house)
    answer = await export_of(house)
    rows = rows_of(answer)
    kept = await house.sql("SELECT entry_no, amount_fen FROM journal ORDER BY entry_no")
    assert [(int(row["entry_no"]), int(row["amount_fen"])) for row in rows] == [
        tuple(row) for row in kept
    ]
    assert list(rows[0]) == NAMES
    assert answer.headers["butie-rows"] == str(len(rows))
    assert answer.headers["butie-sum-fen"] == str(sum(int(row["amount_fen"]) for row in rows))
    assert answer.text.count("\r\n") == answer.text.count("\n") == len(rows) + 1
    assert rows[-1]["kind"] == "refund" and int(rows[-1]["amount_fen"]) < 0


async def test_the_formats_say_the_same(house: House) -> None:
    await books(house)
    rows = rows_of(await export_of(house))
    ndjson = [
        json.loads(line) for line in (await export_of(house, format="ndjson")).text.splitlines()
    ]
    texts = [{k: "" if v is None else str(v) for k, v in record.items()} for record in ndjson]
    assert texts == rows
    parquet = await export_of(house, format="parquet")
    table = pyarrow.parquet.read_table(io.BytesIO(parquet.content))
    assert table.column("entry_no").to_pylist() == [record["entry_no"] for record in ndjson]
    assert table.column("claim_id").to_pylist() == [record["claim_id"] for record in ndjson]
    assert table.column("booked_on").to_pylist() == [TODAY] * len(rows)
    assert table.column("amount_yuan").to_pylist() == [
        Decimal(record["amount_fen"]) / 100 for record in ndjson
    ]
    types = {field.name: str(field.type) for field in table.schema}
    assert types["pool"].startswith("dictionary<")
    assert types["amount_yuan"] == "decimal128(18, 2)"
    assert types["booked_on"] == "date32[day]"
    sheet = await export_of(house, format="xlsx")
    book = CalamineWorkbook.from_filelike(io.BytesIO(sheet.content))
    heading, *cells = book.get_sheet_by_index(0).to_python()
    assert heading == NAMES
    assert [[_plain(cell) for cell in row] for row in cells] == [list(row.values()) for row in rows]


def _plain(cell: object) -> str:
    if isinstance(cell, date):
        return cell.isoformat()
    return str(int(cell)) if isinstance(cell, float) else str(cell)


COMPRESSED: tuple[dict[str, str], ...] = ({}, {"compress": "gzip"}, {"compress": "zstd"})


async def raw(house: House, app: Any, query: dict[str, str]) -> bytes:
    """The body as it is sent."""
    async with (
        house.client("finance", app) as client,
        client.stream("GET", "/v1/exports/journal", params=query) as answer,
    ):
        assert answer.status_code == 200
        return b"".join([piece async for piece in answer.aiter_raw()])


@pytest.mark.parametrize("format_", ["csv", "ndjson", "parquet", "xlsx"])
async def test_a_closed_day_gives_the_same_bytes_for_ever(
    house: House, tmp_path: Path, format_: str
) -> None:
    await books(house)
    query = {"format": format_, "from": "2025-06-18", "to": "2025-06-18", "funding": "true"}
    query |= {"sales": "true"}
    before = [await raw(house, house.app, query | how) for how in COMPRESSED]
    assert "butie-open-from" not in (await export_of(house, **query)).headers
    await claim_some(house, 2, start=50)  # late: they take the next day
    changed = tmp_path / "policies"
    changed.mkdir()
    for path in Path("service/policies").glob("*.yaml"):
        text = path.read_text().replace("value: 8500", "value: 8000")
        text = text.replace("district_bp: {value: 500", "district_bp: {value: 1000")
        (changed / path.name).write_text(text)
    restarted = await house.open_worker(policies_dir=changed, hold_minutes=20)
    assert [await raw(house, restarted, query | how) for how in COMPRESSED] == before
    assert min(len(chunk) for chunk in before) > 200


async def test_funding_shares_sum_to_each_amount(house: House) -> None:
    await books(house)
    rows = rows_of(await export_of(house, funding="true"))
    shares = [column.name for column in FUNDING_COLUMNS]
    for row in rows:
        if row["kind"] == "allocation":
            assert [row[name] for name in shares] == [""] * 4
        else:
            assert sum(int(row[name]) for name in shares) == int(row["amount_fen"])
    funding = (await totals_of(house))["funding"]
    assert funding["centre_fen"] == sum(int(row["centre_fen"] or 0) for row in rows)


async def sold_books(house: House) -> None:
    """Sales of two stores, categories and days, one of them refunded; the first day is closed."""
    await house.sql("UPDATE store SET town = NULL WHERE store_id = 'NH0002'")
    for n, (store_id, category, price_fen) in enumerate(
        (
            ("NH0001", "air_conditioner", 599_900),
            ("NH0002", "refrigerator", 399_901),
            ("NH0001", "phone", 300_001),
        )
    ):
        grade = {"energy_grade": None} if category == "phone" else {}
        answer = await house.claim(
            f"s{n}",
            store_id=store_id,
            consumer={"id_type": "resident_id", "id_number": resident_id(n)},
            items=[item_json(serial_no=serial(n), category=category, price_fen=price_fen, **grade)],
        )
        assert answer.status_code == 201, answer.text
    await close(house)
    await claim_some(house, 2, start=20)  # the day is closed: they are booked on the next one
    await refund(house, answer.json()["claim_id"])


async def test_each_entry_has_what_its_line_was_sold_for(house: House) -> None:
    await sold_books(house)
    plain = rows_of(await export_of(house))
    rows = rows_of(await export_of(house, sales="true"))
    assert list(rows[0]) == [*NAMES, "sales_fen"]
    assert [{name: row[name] for name in NAMES} for row in rows] == plain
    prices = {
        (str(row["claim_id"]), str(row["line_no"])): row["price_fen"]
        for row in await house.sql("SELECT claim_id, line_no, price_fen FROM claim_line")
    }
    sign = {"grant": 1, "refund": -1}
    for row in rows:
        if row["kind"] == "allocation":
            assert row["sales_fen"] == ""
        else:
            price_fen = prices[row["claim_id"], row["line_no"]]
            assert int(row["sales_fen"]) == sign[row["kind"]] * price_fen
    assert {row["kind"] for row in rows} == {"grant", "refund", "allocation"}


async def test_the_formats_have_the_same_sales(house: House) -> None:
    await sold_books(house)
    query = {"sales": "true", "funding": "true"}
    file = await export_of(house, **query, trailer="true")
    lines = file.text.splitlines()
    assert lines[0].endswith(",district_fen,sales_fen")
    assert {line.count(",") for line in lines} == {lines[0].count(",")}
    rows = rows_of(await export_of(house, **query))
    sales = [row["sales_fen"] for row in rows]
    ndjson = (await export_of(house, **query, format="ndjson")).text.splitlines()
    records = [json.loads(line) for line in ndjson]
    assert ["" if one["sales_fen"] is None else str(one["sales_fen"]) for one in records] == sales
    assert list(records[0])[-1] == "sales_fen"
    parquet = await export_of(house, **query, format="parquet")
    table = pyarrow.parquet.read_table(io.BytesIO(parquet.content))
    assert table.column("sales_fen").to_pylist() == [one["sales_fen"] for one in records]
    assert table.column("sales_yuan").to_pylist() == [
        None if one["sales_fen"] is None else Decimal(one["sales_fen"]) / 100 for one in records
    ]
    sheet = await export_of(house, **query, format="xlsx", names="zh")
    heading, *cells = (
        CalamineWorkbook.from_filelike(io.BytesIO(sheet.content)).get_sheet_by_index(0).to_python()
    )
    assert heading[-1] == "带动销售额（分）"
    assert [_plain(row[-1]) for row in cells] == sales


@pytest.mark.parametrize("by", ["day", "category", "town"])
@pytest.mark.parametrize("query", [{}, {"kind": "grant"}, {"store": "NH0001"}, {"retailer": "x"}])
async def test_sales_tie_with_the_export_in_every_grouping(
    house: House, by: str, query: dict[str, str]
) -> None:
    await sold_books(house)
    rows = rows_of(await export_of(house, sales="true", **query))
    totals = await totals_of(house, sales="true", by=by, **query)
    towns = {
        row["store_id"]: row["town"] for row in await house.sql("SELECT store_id, town FROM store")
    }
    name_of = {
        "kind": lambda row: row["kind"],
        "pool": lambda row: row["pool"],
        "retailer": lambda row: row["retailer_id"] or None,
        "day": lambda row: row["booked_on"],
        "category": lambda row: row["category"] or None,
        "town": lambda row: towns.get(row["store_id"]),
    }
    for group in ("kind", "pool", "retailer", by):
        expected: dict[str | None, list[int]] = {}
        for row in rows:
            sums = expected.setdefault(name_of[group](row), [0, 0, 0])
            for at, fen in enumerate((1, int(row["amount_fen"]), int(row["sales_fen"] or 0))):
                sums[at] += fen
        subtotals = {
            one["name"]: [one["rows"], one["sum_fen"], one["sales_fen"]]
            for one in totals[f"by_{group}"]
        }
        assert subtotals == expected
    assert totals["sales_fen"] == sum(int(row["sales_fen"] or 0) for row in rows)


async def test_totals_without_sales_are_as_they_were(house: House) -> None:
    await sold_books(house)
    totals = await totals_of(house)
    names = "rows sum_fen until_entry by_kind by_pool by_retailer funding sha256"
    assert list(totals) == names.split()
    assert {tuple(one) for one in totals["by_kind"]} == {("name", "rows", "sum_fen")}
    by_town = (await totals_of(house, by="town"))["by_town"]
    assert sum(one["rows"] for one in by_town) == totals["rows"]
    assert {tuple(one) for one in by_town} == {("name", "rows", "sum_fen")}
    assert (await totals_of(house, sales="true"))["sha256"] == totals["sha256"]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"kind": "grant"},
        {"pool": "digital"},
        {"store": "S1"},
        {"retailer": "sandbox"},
        {"category": "phone", "policy": "nanhu-2025"},
        {"after": "20"},
        {"from": "2025-06-19"},
        {"retailer": "nobody"},
    ],
)
async def test_export_and_totals_tie_under_every_filter(
    house: House, query: dict[str, str]
) -> None:
    await books(house)
    await sum_up_all(house)  # part of the size is then known, the rest is counted
    await _reopen(house)
    file = await export_of(house, **query)
    rows = rows_of(file)
    totals = await totals_of(house, **query, until=file.headers["butie-until-entry"])
    amounts = [int(row["amount_fen"]) for row in rows]
    assert (totals["rows"], totals["sum_fen"]) == (len(rows), sum(amounts))
    assert file.headers["butie-rows"] == str(len(rows))
    assert file.headers["butie-sum-fen"] == str(sum(amounts))
    assert totals["sha256"] == hashlib.sha256(file.content).hexdigest()
    for part in ("kind", "pool", "retailer"):
        assert sum(subtotal["sum_fen"] for subtotal in totals[f"by_{part}"]) == sum(amounts)
        assert sum(subtotal["rows"] for subtotal in totals[f"by_{part}"]) == len(rows)


async def sum_up_all(house: House) -> None:
    async with house.service.reports.connection() as connection:
        while await sum_up(connection, PLACE):
            pass


async def test_a_row_dropped_by_hand_after_it_was_summed_cuts_the_file_off(house: House) -> None:
    await many_entries(house, 10)
    await sum_up_all(house)
    await house.sql("ALTER TABLE journal DISABLE TRIGGER ALL")
    await house.sql("DELETE FROM journal WHERE amount_fen = 7")
    await house.sql("ALTER TABLE journal ENABLE TRIGGER ALL")
    download = Download(house.service.finance.books, Selection(PLACE, TODAY, TODAY), Layout("csv"))
    await download.open()
    with pytest.raises(NotAsAnnounced):
        async for _ in download.pieces():
            pass
    await download.close()


async def test_each_day_has_all_its_entries_however_their_numbers_lie(house: House) -> None:
    for day in (1, 0, 2, 1, 3, 0, 2):
        await house.sql(
            "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
            " retailer_id, store_id, claim_id, line_no, category, policy)"
            " VALUES ($1, 'grant', $2::date + $3::int, now(), 'digital', 5, 'sandbox', 'S1',"
            " gen_random_uuid(), 1, 'phone', 'nanhu-2025')",
            PLACE,
            TODAY,
            day,
        )
    for first, last in ((0, 0), (1, 1), (0, 1), (1, 2), (2, 3), (3, 9), (8, 9)):
        period = [str(TODAY + timedelta(days=n)) for n in (first, last)]
        rows = rows_of(await export_of(house, **dict(zip(("from", "to"), period, strict=True))))
        kept = await house.sql(
            "SELECT entry_no FROM journal WHERE booked_on BETWEEN $1 AND $2 AND kind = 'grant'"
            " ORDER BY entry_no",
            *map(date.fromisoformat, period),
        )
        numbers = [int(row["entry_no"]) for row in rows if row["kind"] == "grant"]
        assert numbers == [row[0] for row in kept]


async def _reopen(house: House) -> None:
    """Entries on the next day, which is open."""
    await house.sql(
        "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
        " retailer_id, store_id, claim_id, line_no, category, policy)"
        " SELECT $1, 'grant', $2::date + 1, now(), 'digital', n, 'sandbox', 'S' || n % 2,"
        " gen_random_uuid(), 1, CASE n % 2 WHEN 0 THEN 'phone' ELSE 'tablet' END, 'nanhu-2025'"
        " FROM generate_series(1, 40) AS n",
        PLACE,
        TODAY,
    )


async def test_an_export_is_resumed_where_it_broke_off(house: House) -> None:
    await many_entries(house, 100)
    whole = rows_of(await export_of(house))
    part = rows_of(await export_of(house, after=whole[30]["entry_no"]))
    assert part == whole[31:]


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
async def test_a_broken_file_and_the_rest_are_the_whole_file_byte_for_byte(
    house: House, format_: str
) -> None:
    await many_entries(house, 300)
    whole = await export_of(house, format=format_)
    until = whole.headers["butie-until-entry"]
    await claim_some(house, 2)  # what comes meanwhile is not in it
    for cut in (len(whole.content) // 3, len(whole.content) - 1):
        kept = whole.content[:cut].rpartition(b"\n")[0] + b"\n"
        last = kept.splitlines()[-1]
        entry = last.split(b",")[0] if format_ == "csv" else json.loads(last)["entry_no"]
        rest = (await export_of(house, format=format_, after=int(entry), until=until)).content
        if format_ == "csv":
            rest = rest.partition(b"\n")[2]  # its heading
        assert kept + rest == whole.content


async def test_a_booking_under_way_is_waited_for_so_no_number_comes_in_behind(
    house: House,
) -> None:
    slow = await asyncpg.connect(str(house.settings.database_url))
    booking = slow.transaction()
    await booking.start()
    await slow.execute(
        "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
        " document_no) VALUES ('330402', 'allocation', '2025-06-18', now(), 'cars', 1, 'SLOW')"
    )
    await claim_some(house, 1)  # nobody who books waits
    exporting = asyncio.create_task(export_of(house))
    await asyncio.sleep(0.1)
    assert not exporting.done()
    await booking.commit()
    await slow.close()
    rows = rows_of(await exporting)
    assert [row["document_no"] for row in rows].count("SLOW") == 1


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
async def test_the_trailer_tells_rows_sum_and_digest(house: House, format_: str) -> None:
    await many_entries(house, 10)
    plain = await export_of(house, format=format_)
    result = await export_of(house, format=format_, trailer="true")
    assert result.content.startswith(plain.content)
    last = result.content[len(plain.content) :].decode()
    digest = hashlib.sha256(plain.content).hexdigest()
    if format_ == "csv":
        assert last.split(",")[:4] == ["#end", "16", plain.headers["butie-sum-fen"], digest]
        assert last.count(",") == len(NAMES) - 1
    else:
        assert json.loads(last)["end"]["sha256"] == digest


async def test_bom_and_chinese_names_for_excel(house: House) -> None:
    answer = await export_of(house, bom="true", names="zh")
    assert answer.content.startswith("\ufeff分录号,记账日,".encode())


async def test_compressed_files_hold_the_same(house: House) -> None:
    await many_entries(house, 1000)
    plain = (await export_of(house)).content
    for name, opened in (("gzip", gzip.decompress), ("zstd", zstd.decompress)):
        async with (
            house.client("finance") as client,
            client.stream(
                "GET", "/v1/exports/journal", params={**PERIOD, "compress": name}
            ) as answer,
        ):
            raw = b"".join([piece async for piece in answer.aiter_raw()])
        assert answer.headers["content-encoding"] == name
        assert opened(raw) == plain


async def test_what_a_spreadsheet_would_compute_is_defused(house: House) -> None:
    hostile = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "＝1", 'a"b,c', "plain"]
    for text in hostile:
        await house.sql(
            "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
            " document_no) VALUES ('330402', 'allocation', '2025-06-18', now(), 'cars', -1, $1)",
            text,
        )
    rows = rows_of(await export_of(house))[-len(hostile) :]
    guarded = [f"'{text}" for text in hostile[:7]]
    assert [row["document_no"] for row in rows] == guarded + hostile[7:]
    assert {row["amount_fen"] for row in rows} == {"-1"}
    sheet = (await export_of(house, format="xlsx")).content
    cells = CalamineWorkbook.from_filelike(io.BytesIO(sheet)).get_sheet_by_index(0).to_python()
    texts = [row[NAMES.index("document_no")] for row in cells[-len(hostile) :]]
    assert texts == [text.strip() for text in hostile]


async def test_what_no_sheet_may_hold_leaves_the_sheet_readable(house: House) -> None:
    for text in ("a\x1bb\x01\x02c", "\ufffe\uffff", "x\ty", "p\nq"):
        await house.sql(
            "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
            " document_no) VALUES ('330402', 'allocation', '2025-06-18', now(), 'cars', -1, $1)",
            text,
        )
    sheet = (await export_of(house, format="xlsx")).content
    ElementTree.fromstring(zipfile.ZipFile(io.BytesIO(sheet)).read("xl/worksheets/sheet1.xml"))
    cells = CalamineWorkbook.from_filelike(io.BytesIO(sheet)).get_sheet_by_index(0).to_python()
    assert [row[NAMES.index("document_no")] for row in cells[-4:]] == ["abc", "", "x\ty", "p q"]


async def test_more_rows_than_a_sheet_holds_are_refused_with_a_way_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.finance.journal.download.XLSX_ROWS_MAX", 5)
    answer = await export_of(house, format="xlsx")
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_rows")
    assert "csv" in answer.json()["detail"]
    assert export.XLSX_ROWS_MAX + 1 == 2**20


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2025-13-01"},
        {"from": "2025-07-01"},
        {"from": "1748736000"},
        {"format": "pdf"},
        {"retailr": "sandbox"},
        {"pool": "a'b"},
        {"pool": "a\x00b"},
        {"after": "-1"},
        {"after": str(2**63)},
        {"compress": "brotli"},
        {"trailer": "perhaps"},
        {"pool": ["cars", "ebike"]},  # the last alone would be half of what was meant
        {"from": ["2025-06-01", "2025-06-18"]},
    ],
)
async def test_a_bad_filter_gets_a_sentence(house: House, query: dict[str, Any]) -> None:
    async with house.client("finance") as client:
        for path in ("/v1/exports/journal", "/v1/exports/journal/totals"):
            answer = await client.get(
                path, params={**PERIOD, **query}, headers={"Accept-Language": "en"}
            )
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
            assert "is not valid" not in answer.json()["detail"], answer.text


@pytest.mark.parametrize(
    "more", [("--after", str(2**63)), ("--until", "-1"), ("--pool", "a\udcff")]
)
def test_a_bad_filter_typed_gets_a_sentence_too(more: tuple[str, str]) -> None:
    result = CliRunner().invoke(
        app, ["totals", "--from", "2025-06-18", "--to", "2025-06-18", *more]
    )
    assert result.exit_code == 2
    assert more[0] in result.output


@pytest.mark.parametrize("day", ["20250618", "2025-W25-3", "2025-06-31", "18.6.2025"])
def test_a_day_that_is_typed_is_written_as_it_is_asked_for(day: str) -> None:
    result = CliRunner().invoke(app, ["totals", "--from", day, "--to", "2025-06-18"])
    assert (result.exit_code, "days like 2025-06-18" in result.output) == (1, True)


async def test_up_to_entry_0_there_is_nothing(house: House) -> None:
    """That is what an export of an empty journal says of itself, and it may be asked for again."""
    await books(house)
    file = await export_of(house, **PERIOD, until=0)
    assert (rows_of(file), file.headers["butie-until-entry"]) == ([], "0")
    totals = await totals_of(house, **PERIOD, until=0)
    assert (totals["rows"], totals["until_entry"]) == (0, 0)


async def test_only_finance_may_export(house: House) -> None:
    for role in ("pos", "bureau", "admin"):
        async with house.client(role) as client:
            answer = await client.get("/v1/exports/journal", params=PERIOD)
        assert answer.status_code == 403


async def test_a_client_that_leaves_frees_its_connection_at_once(house: House) -> None:
    await many_entries(house, 60_000)

    async def leave(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            raise OSError("the client has gone")

    async def wait_for_ever() -> dict[str, Any]:
        await asyncio.sleep(3600)
        return {}

    for _ in range(REPORT_CONNECTIONS_MAX + 1):
        download = Download(
            house.service.finance.books, Selection(PLACE, TODAY, TODAY), Layout("ndjson")
        )
        await download.open()
        answer = ExportAnswer(download, "csv", {})
        scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
        with pytest.raises(ClientDisconnect):
            await answer(scope, wait_for_ever, leave)  # type: ignore[arg-type]
    async with asyncio.timeout(2):
        while await _busy(house):
            await asyncio.sleep(0.02)
    assert (await export_of(house)).status_code == 200


async def test_a_client_that_leaves_its_totals_frees_the_connection(house: House) -> None:
    waiting = asyncio.Event()

    async def read() -> None:
        async with house.service.reports.connection() as connection:
            waiting.set()
            await connection.execute("SELECT pg_sleep(3600)")

    async def leave() -> dict[str, Any]:
        await waiting.wait()
        return {"type": "http.disconnect"}

    for _ in range(REPORT_CONNECTIONS_MAX + 1):
        waiting.clear()
        with pytest.raises(ClientDisconnect):
            await unless_left(Request({"type": "http"}, leave), read())  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        while await _busy(house):
            await asyncio.sleep(0.02)


async def _busy(house: House) -> int:
    rows = await house.sql(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'butie reports'"
        " AND state = 'active' AND datname = current_database()"
    )
    return int(rows[0]["n"])


async def test_too_many_exports_at_once_are_asked_to_come_again(house: House) -> None:
    downloads = []
    for _ in range(REPORT_CONNECTIONS_MAX):
        download = Download(
            house.service.finance.books, Selection(PLACE, TODAY, TODAY), Layout("csv")
        )
        await download.open()
        downloads.append(download)
    answer = await export_of(house)
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"]
    await claim_some(house, 1)  # the tills do not notice
    for download in downloads:
        await download.close()
    assert (await export_of(house)).status_code == 200


def test_readme_and_openapi_have_the_columns_as_the_code_has_them_and_no_others(
    house: House,
) -> None:
    documented = house.app.openapi()["paths"]["/v1/exports/journal"]["get"]["description"]
    for text in (Path("README.md").read_text(), documented):
        tables = [part for part in text.split("\n\n") if part.startswith("| column | 列名 |")]
        assert tables == [described()]
