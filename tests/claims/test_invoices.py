"""Invoices: one number serves one claim for ever, and what a settlement has stays."""

import asyncio
import hashlib
import zlib
from typing import Any

import asyncpg
import httpx
import pytest
import sqlalchemy as sa

from service.db.engine import connect
from service.sandbox import RETAILER_USCC
from tests.builders import item_json, serial
from tests.conftest import House
from tests.finance.books import PERIOD
from tests.finance.reconciling import counts, ended
from tests.invoices.papers import ENGLISH, ORIGINAL_INVOICE, PINYIN, filled, ofd

pytestmark = pytest.mark.anyio

PRICE = 599_900
CATEGORIES = ("air_conditioner", "refrigerator", "washing_machine")


def number(n: int) -> str:
    return f"2533200000{n:010d}"


def invoice_json(n: int = 1, **overrides: Any) -> dict[str, Any]:
    facts = {"number": number(n), "date": "2025-06-18", "buyer": "王小明", "total_fen": PRICE}
    return facts | overrides


async def sale(house: House, key: str, pieces: int = 1) -> str:
    """A claim of so many pieces at one price; returns its id."""
    first = zlib.crc32(key.encode()) % 10_000 * 10
    items = [
        item_json(line_no=n, serial_no=serial(first + n), category=category)
        for n, category in zip(
            range(1, pieces + 1),
            ("air_conditioner", "refrigerator", "washing_machine"),
            strict=False,
        )
    ]
    answer = await house.claim(
        key, consumer={"id_type": "passport", "id_number": f"E{first:08d}"}, items=items
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["claim_id"])


async def file(house: House, claim_id: str, n: int = 1, **facts: Any) -> httpx.Response:
    async with house.client() as client:
        return await client.put(f"/v1/claims/{claim_id}/invoice", json=invoice_json(n, **facts))


async def filed(house: House, claim_id: str, n: int = 1, **facts: Any) -> dict[str, Any]:
    answer = await file(house, claim_id, n, **facts)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def papers(house: House, claim_id: str, role: str = "pos") -> dict[str, Any]:
    async with house.client(role) as client:
        answer = await client.get(f"/v1/claims/{claim_id}/invoices")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def current(house: House, claim_id: str) -> list[dict[str, Any]]:
    return [p for p in (await papers(house, claim_id))["invoices"] if not p["replaced_at"]]


async def give_back(house: House, claim_id: str, *lines: int) -> None:
    async with house.client() as client:
        answer = await client.post(
            f"/v1/claims/{claim_id}/refunds",
            json={"lines": lines, "reason": "returned"},
            headers={"Idempotency-Key": f"back-{claim_id}-{sum(lines)}"},
        )
    assert answer.status_code == 201, answer.text


async def settle(house: House, path: str = "", **body: Any) -> httpx.Response:
    async with house.client("finance") as client:
        return await client.post(f"/v1/settlements{path}", json=body or None)


async def draft(house: House) -> dict[str, Any]:
    answer = await settle(house, retailer_id="sandbox", **PERIOD)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def refused(answer: httpx.Response, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return str(answer.json()["detail"])


# --- one number, one claim --------------------------------------------------------------


async def test_a_number_serves_one_claim_even_when_it_was_replaced(house: House) -> None:
    first, second = await sale(house, "k1"), await sale(house, "k2")
    await filed(house, first, 1)
    await filed(house, first, 2)
    refused(await file(house, second, 1), 409, "invoice_taken")
    refused(await file(house, second, 2), 409, "invoice_taken")
    assert (await papers(house, second))["invoices"] == []
    again = await filed(house, first, 1)
    listed = (await papers(house, first))["invoices"]
    assert {one["number"]: one["replaced_at"] is None for one in listed} == {
        number(1): True,
        number(2): False,
    }
    assert again["number"] == number(1)


async def test_claims_that_race_for_a_number_get_it_once(house: House) -> None:
    claims = [await sale(house, f"k{n}") for n in range(4)]
    answers = await asyncio.gather(*(file(house, claim_id) for claim_id in claims))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


@pytest.mark.parametrize(
    ("typed", "code", "kept"),
    [
        ("2533 2000 0000 0000 0001", None, (number(1), None)),
        ("　２５３３２０００００ 0000000001 ", None, (number(1), None)),
        ("1234 5678", "0330 2200 0313", ("12345678", "033022000313")),
        ("12345678", "0330220003", ("12345678", "0330220003")),
    ],
)
async def test_two_spellings_of_a_number_are_one_paper(
    house: House, typed: str, code: str | None, kept: tuple[str, str | None]
) -> None:
    first, second = await sale(house, "k1"), await sale(house, "k2")
    answer = await filed(house, first, number=typed, code=code)
    assert (answer["number"], answer["code"]) == kept
    plain = {"number": kept[0], "code": kept[1]}
    assert await filed(house, first, **plain) == answer
    refused(await file(house, second, **plain), 409, "invoice_taken")
    assert len((await papers(house, first))["invoices"]) == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"number": "N2"}, "number"),
        ({"number": "123456789"}, "number"),
        ({"number": "2533-2000-0000-0000-0001"}, "number"),
        ({"number": "24332000000000000001"}, "number"),
        ({"code": "033022000313"}, "code"),
        ({"number": "12345678"}, "code"),
        ({"number": "12345678", "code": "12345"}, "code"),
        ({"date": "2025-05-18"}, "date"),
        ({"date": "2025-06-19"}, "date"),
        ({"total_fen": 0}, "total_fen"),
        ({"total_fen": -PRICE}, "red_letter_of"),
        ({"total_fen": PRICE, "red_letter_of": number(9)}, "total_fen"),
        ({"total_fen": -PRICE, "red_letter_of": number(9)}, "red_letter_of"),
        ({"lines": []}, "lines"),
        ({"lines": [1, 1]}, "lines"),
        ({"lines": [7]}, "lines"),
    ],
)
async def test_a_wrong_invoice_is_refused_with_its_field(
    house: House, wrong: dict[str, Any], field: str
) -> None:
    claim_id = await sale(house, "k1")
    answer = await file(house, claim_id, **wrong)
    refused(answer, 422, "invalid_field")
    assert [one["field"] for one in answer.json()["fields"]] == [field]
    assert (await papers(house, claim_id))["invoices"] == []


async def test_a_deposit_may_be_invoiced_thirty_days_before_the_sale(house: House) -> None:
    await filed(house, await sale(house, "k1"), date="2025-05-19")


# --- settlements ------------------------------------------------------------------------


async def test_from_its_draft_on_an_invoice_cannot_be_replaced(house: House) -> None:
    claim_id, other = await sale(house, "k1"), await sale(house, "k2")
    await filed(house, claim_id, 1)
    drafted = await draft(house)
    for facts in ({"n": 2}, {"buyer": "李小红"}, {"lines": [1], "n": 3}):
        detail = refused(await file(house, claim_id, **facts), 409, "wrong_state")
        assert "作废" in detail
    await filed(house, claim_id, 1)  # a repeat is harmless
    refused(await file(house, other, 1), 409, "invoice_taken")
    voided = await settle(house, f"/{drafted['settlement_id']}/void", reason="wrong invoice")
    assert voided.status_code == 200, voided.text
    await filed(house, claim_id, 2)
    again = await draft(house)
    assert await invoice_numbers(house, drafted) == [number(1)]
    assert await invoice_numbers(house, again) == [number(2)]


async def invoice_numbers(house: House, settlement: dict[str, Any]) -> list[str]:
    async with house.client("finance") as client:
        path = f"/v1/settlements/{settlement['settlement_id']}/statement"
        return [line["invoice_no"] for line in (await client.get(path)).json()["lines"]]


async def test_the_database_alone_keeps_what_a_settlement_has(house: House) -> None:
    claim_id = await sale(house, "k1")
    await filed(house, claim_id, 1)
    await draft(house)
    for change in (
        "UPDATE invoice SET number = '25332000009999999999'",  # as the former release replaces
        "UPDATE invoice SET total_fen = 1",
        "DELETE FROM invoice",
    ):
        with pytest.raises(asyncpg.UniqueViolationError, match="void its draft"):
            await house.sql(change)
    for change in (
        "UPDATE invoice_paper SET number = '25332000009999999999'",
        "UPDATE invoice_paper SET claim_id = gen_random_uuid()",
        "UPDATE settled_entry SET invoice_no = 'x'",
        "UPDATE settlement SET retailer_name = 'x'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await house.sql(change)


async def test_the_former_release_cannot_file_a_number_that_was_replaced(house: House) -> None:
    first, second = await sale(house, "k1"), await sale(house, "k2")
    await filed(house, first, 1)
    await filed(house, first, 2)
    with pytest.raises(asyncpg.UniqueViolationError):
        await house.sql(
            "INSERT INTO invoice SELECT jurisdiction, $1, '', $2::uuid, dated_on, buyer,"
            " total_fen, recorded_at FROM invoice",
            "2533-2000-0000-0000-0001",
            second,
        )


async def test_an_invoice_that_races_a_draft_is_replaced_before_it_or_not_at_all(
    house: House,
) -> None:
    for n in range(4):
        claim_id = await sale(house, f"k{n}")
        await filed(house, claim_id, 10 * n + 1)
        replaced, drafted = await asyncio.gather(
            file(house, claim_id, 10 * n + 2), settle(house, retailer_id="sandbox", **PERIOD)
        )
        assert drafted.status_code == 201, drafted.text
        now = 10 * n + (2 if replaced.status_code == 200 else 1)
        assert await invoice_numbers(house, drafted.json()) == [number(now)]
        assert [paper["number"] for paper in await current(house, claim_id)] == [number(now)]


async def test_a_statement_keeps_the_retailer_s_name(house: House) -> None:
    await filed(house, await sale(house, "k1"), 1)
    drafted = await draft(house)
    path = f"/v1/settlements/{drafted['settlement_id']}/statement"
    async with house.client("finance") as client:
        before = (await client.get(path)).content
        await house.sql("UPDATE retailer SET name = 'another' WHERE retailer_id = 'sandbox'")
        assert (await client.get(path)).content == before


async def test_a_draft_says_what_it_left_out_for_want_of_an_invoice(house: House) -> None:
    with_invoice, without, _, back = [await sale(house, f"k{n}") for n in range(4)]
    del without
    await give_back(house, back, 1)
    refused_draft = await settle(house, retailer_id="sandbox", **PERIOD)
    assert "4,799.20" not in refused(refused_draft, 409, "nothing_to_settle")
    assert "3 笔、补贴 3,599.40 元" in refused_draft.json()["detail"]
    await filed(house, with_invoice, 1)
    drafted = await draft(house)
    assert (drafted["uninvoiced_claims"], drafted["uninvoiced_fen"]) == (2, 2 * 119_980)


# --- lines ------------------------------------------------------------------------------


async def test_a_line_settles_when_its_own_invoice_is_there(house: House) -> None:
    claim_id = await sale(house, "k1", pieces=3)
    answer = await filed(house, claim_id, 1, lines=[2, 1], total_fen=2 * PRICE)
    assert answer["lines"] == [1, 2]
    assert (await papers(house, claim_id))["uninvoiced_lines"] == [3]
    drafted = await draft(house)
    assert (drafted["entries"], drafted["uninvoiced_claims"]) == (2, 1)
    assert await invoice_numbers(house, drafted) == [number(1)] * 2
    refused(await file(house, claim_id, 2, lines=[1, 2], total_fen=2 * PRICE), 409, "wrong_state")
    await filed(house, claim_id, 3, lines=[3])
    assert (await papers(house, claim_id))["uninvoiced_lines"] == []
    assert await invoice_numbers(house, await draft(house)) == [number(3)]


async def test_a_line_is_in_one_invoice_at_most(house: House) -> None:
    claim_id = await sale(house, "k1", pieces=2)
    await filed(house, claim_id, 1, lines=[1])
    for facts in ({"lines": [1, 2], "total_fen": 2 * PRICE}, {"total_fen": 2 * PRICE}):
        detail = refused(await file(house, claim_id, 2, **facts), 409, "wrong_state")
        assert number(1) in detail
    await filed(house, claim_id, 2, lines=[1])  # a corrected one
    await filed(house, claim_id, 2, total_fen=2 * PRICE)  # it had both lines
    assert [(p["number"], p["lines"]) for p in await current(house, claim_id)] == [
        (number(2), None)
    ]
    refused(await file(house, claim_id, 3, lines=[2]), 409, "wrong_state")
    await filed(house, claim_id, 2, lines=[1])
    await filed(house, claim_id, 3, lines=[2])
    assert (await papers(house, claim_id))["uninvoiced_lines"] == []


async def test_lines_that_race_are_in_one_invoice_each(house: House) -> None:
    claim_id = await sale(house, "k1", pieces=2)
    answers = await asyncio.gather(
        file(house, claim_id, 1, lines=[1]),
        file(house, claim_id, 2, lines=[2]),
        file(house, claim_id, 3, total_fen=2 * PRICE),
    )
    codes = [answer.status_code for answer in answers]
    assert codes in ([200, 200, 409], [409, 409, 200])


async def test_an_invoice_that_names_every_line_is_the_whole_sale_s(house: House) -> None:
    claim_id = await sale(house, "k1", pieces=2)
    assert (await filed(house, claim_id, lines=[2, 1], total_fen=2 * PRICE))["lines"] is None


# --- what came back ---------------------------------------------------------------------


async def test_the_sale_s_own_invoice_can_be_filed_after_a_line_came_back(house: House) -> None:
    claim_id = await sale(house, "k1", pieces=2)
    await give_back(house, claim_id, 1)
    answer = await file(house, claim_id, 1, total_fen=1)
    assert answer.json()["expected_fen"] == PRICE
    await filed(house, claim_id, 1, total_fen=PRICE)
    assert (await papers(house, claim_id))["red_letter_missing_fen"] == 0
    await filed(house, claim_id, 1, total_fen=2 * PRICE)
    assert (await papers(house, claim_id))["red_letter_missing_fen"] == PRICE


async def test_a_return_has_its_red_letter_invoice(house: House) -> None:
    claim_id = await sale(house, "k1", pieces=2)
    await filed(house, claim_id, 1, total_fen=2 * PRICE)
    red = {"red_letter_of": "2533 2000 0000 0000 0001", "total_fen": -PRICE}
    detail = refused(await file(house, claim_id, 2, **red), 422, "invalid_field")
    assert "0.00" in detail  # nothing came back yet
    await draft(house)
    await give_back(house, claim_id, 1)
    assert (await papers(house, claim_id))["red_letter_missing_fen"] == PRICE
    answer = await filed(house, claim_id, 2, **red)
    assert (answer["total_fen"], answer["red_letter_of"]) == (-PRICE, number(1))
    assert (await papers(house, claim_id))["red_letter_missing_fen"] == 0
    assert await filed(house, claim_id, 2, **red) == answer
    await filed(house, claim_id, 3, **red)  # a corrected one
    current = {
        p["number"] for p in (await papers(house, claim_id))["invoices"] if not p["replaced_at"]
    }
    assert current == {number(1), number(3)}
    refused(await file(house, await sale(house, "k2"), 3), 409, "invoice_taken")
    await give_back(house, claim_id, 2)
    await filed(house, claim_id, 4, **red)
    detail = refused(
        await file(house, claim_id, 5, **{**red, "total_fen": -1}), 422, "invalid_field"
    )
    assert "0.00" in detail


async def test_an_invoice_that_was_taken_back_pays_no_more(house: House) -> None:
    claim_id = await sale(house, "k1", pieces=2)
    await filed(house, claim_id, 1, total_fen=2 * PRICE)
    # The sale is invoiced anew, by line: the first invoice is taken back in full.
    await filed(house, claim_id, 2, red_letter_of=number(1), total_fen=-2 * PRICE)
    assert (await papers(house, claim_id))["uninvoiced_lines"] == [1, 2]
    answer = await file(house, claim_id, 1, total_fen=2 * PRICE)
    refused(answer, 422, "invalid_field")
    await filed(house, claim_id, 3, lines=[1])
    await filed(house, claim_id, 4, lines=[2])
    drafted = await draft(house)
    assert await invoice_numbers(house, drafted) == [number(3), number(4)]
    answer = await file(house, claim_id, 5, red_letter_of=number(3), total_fen=-PRICE)
    refused(answer, 409, "wrong_state")


async def test_a_red_letter_is_not_older_than_its_invoice(house: House) -> None:
    claim_id = await sale(house, "k1")
    await filed(house, claim_id, 1)
    red = {"red_letter_of": number(1), "total_fen": -PRICE, "date": "2025-06-17"}
    refused(await file(house, claim_id, 2, **red), 422, "invalid_field")


async def test_the_first_file_s_hash_stays(house: House) -> None:
    claim_id = await sale(house, "k1")
    first = (await send(house, claim_id, xml())).json()
    assert (await send(house, claim_id, xml() + b"\n")).json() == first


async def test_a_paper_that_the_former_release_filed_is_known_in_every_spelling(
    house: House,
) -> None:
    """It took a code with 20 digits, 8 digits without one, and letters."""
    claims = [await sale(house, f"k{n}") for n in range(4)]
    olds = [(number(1), "033001"), ("12345678", ""), ("AB-1", ""), (number(2), "")]
    for claim_id, (old, code) in zip(claims, olds, strict=True):
        await house.sql(
            "INSERT INTO invoice VALUES ('330402', $1, $2, $3::uuid, '2025-06-18', '王小明', $4,"
            " now())",
            old, code, claim_id, PRICE,
        )  # fmt: skip
    other = await sale(house, "k9")
    refused(await file(house, other, 1), 409, "invoice_taken")
    refused(await file(house, other, number="12345678", code="0330220003"), 409, "invoice_taken")
    assert (await filed(house, claims[2], number="AB-1"))["number"] == "AB-1"  # a repeat
    refused(await file(house, other, number="AB-1"), 422, "invalid_field")
    with pytest.raises(asyncpg.UniqueViolationError):
        await house.sql("UPDATE invoice SET number = 'ab1' WHERE number = $1", number(2))


async def test_a_lock_of_a_settlement_is_waited_for_briefly(house: House) -> None:
    claim_id = await sale(house, "k1")
    async with connect(house.service.engine, within_s=20) as connection:
        await connection.execute(sa.text("SELECT FROM retailer FOR UPDATE"))
        answers = await asyncio.gather(*(file(house, claim_id) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {503}
        assert (await house.claim("k2", items=[item_json(serial_no=serial(9))])).status_code == 201
    await filed(house, claim_id)


async def test_a_replaced_invoice_may_be_taken_back_in_full(house: House) -> None:
    claim_id = await sale(house, "k1")
    await filed(house, claim_id, 1)
    await filed(house, claim_id, 2)
    await filed(house, claim_id, 3, red_letter_of=number(1), total_fen=-PRICE)
    assert (await papers(house, claim_id))["red_letter_missing_fen"] == 0


async def listed(house: House, role: str = "pos", **query: str) -> set[str]:
    async with house.client(role) as client:
        answer = await client.get("/v1/claims", params=query)
    assert answer.status_code == 200, answer.text
    return {claim["claim_id"] for claim in answer.json()["claims"]}


async def test_claims_without_an_invoice_are_listed(house: House) -> None:
    bare, whole, part, lines, back = [await sale(house, f"k{n}", pieces=2) for n in range(5)]
    await filed(house, whole, 1, total_fen=2 * PRICE)
    await filed(house, part, 2, lines=[1])
    for line in (1, 2):
        await filed(house, lines, 10 + line, lines=[line])
    await give_back(house, back, 1, 2)
    for role, of in (("pos", {}), ("finance", {"retailer": "sandbox"})):
        assert await listed(house, role, invoiced="false", **of) == {bare, part}
        assert await listed(house, role, invoiced="true", **of) == {whole, lines}
    await give_back(house, part, 2)
    assert await listed(house, invoiced="false") == {bare}
    async with house.client("finance") as client:
        answer = await client.get("/v1/claims", params={"invoiced": "false"})
    assert "retailer" in refused(answer, 422, "invalid_field")


async def test_refunds_without_a_red_letter_invoice_are_listed(house: House) -> None:
    kept, late, early, part = [await sale(house, f"k{n}", pieces=2) for n in range(4)]
    await filed(house, kept, 1, total_fen=2 * PRICE)
    await filed(house, late, 2, total_fen=2 * PRICE)
    await filed(house, part, 3, lines=[1])
    await give_back(house, early, 1)
    await filed(house, early, 4, total_fen=PRICE)  # the invoice was made after the return
    assert await listed(house, red_letter_missing="true") == set()
    for claim_id in (late, part):
        await give_back(house, claim_id, 1)
    for role, of in (("pos", {}), ("finance", {"retailer": "sandbox"})):
        assert await listed(house, role, red_letter_missing="true", **of) == {late, part}
    for claim_id, n in ((late, 2), (part, 3)):
        await filed(house, claim_id, 10 + n, red_letter_of=number(n), total_fen=-PRICE)
    assert await listed(house, red_letter_missing="true") == set()


async def test_a_list_that_no_index_answers_is_read_in_pages(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may be empty though there is a next one."""
    monkeypatch.setattr("service.claims.ledger.finding.SCANNED_MAX", 2)
    claims = [await sale(house, f"k{n}") for n in range(5)]
    for n, claim_id in enumerate(claims[1:], 1):
        await filed(house, claim_id, n)
    found, pages, query = [], 0, {"invoiced": "false"}
    async with house.client() as client:
        while True:
            page = (await client.get("/v1/claims", params=query)).json()
            found += [claim["claim_id"] for claim in page["claims"]]
            pages += 1
            if page["next_cursor"] is None:
                break
            query = {"invoiced": "false", "cursor": page["next_cursor"]}
    assert (found, pages) == (claims[:1], 3)


async def test_the_former_release_cannot_revive_what_was_taken_back(house: House) -> None:
    claim_id = await sale(house, "k1")
    await filed(house, claim_id, 1)
    await filed(house, claim_id, 2, red_letter_of=number(1), total_fen=-PRICE)
    with pytest.raises(asyncpg.UniqueViolationError):
        await house.sql(
            "INSERT INTO invoice VALUES ('330402', $1, '', $2::uuid, '2025-06-18', 'x', $3, now())",
            number(1), claim_id, PRICE,
        )  # fmt: skip
    refused(await file(house, claim_id, 2), 422, "invalid_field")  # a red letter is no invoice
    assert (await filed(house, claim_id, 3, code=" ", red_letter_of=""))["code"] is None


async def test_another_s_claim_is_not_there_for_a_file(house: House) -> None:
    claim_id = await sale(house, "k1")
    async with house.client("other") as client:
        answer = await client.put(
            f"/v1/claims/{claim_id}/invoice",
            content=xml(),
            headers={"Content-Type": "application/xml"},
        )
    assert answer.status_code == 404


# --- who may ask ------------------------------------------------------------------------


async def test_invoices_are_the_retailer_s_own(house: House) -> None:
    claim_id = await sale(house, "k1")
    async with house.client("other") as client:
        assert (await client.get(f"/v1/claims/{claim_id}/invoices")).status_code == 404


# --- files ------------------------------------------------------------------------------


async def send(
    house: House, claim_id: str, content: bytes, kind: str = "application/xml", **params: str
) -> httpx.Response:
    async with house.client() as client:
        return await client.put(
            f"/v1/claims/{claim_id}/invoice",
            content=content,
            headers={"Content-Type": kind},
            params=params,
        )


def xml(layout: str = ENGLISH, **other: str) -> bytes:
    return filled(layout, seller_id=RETAILER_USCC, **other).encode()


async def test_an_invoice_is_filed_as_its_own_file(house: House) -> None:
    for n, (content, kind) in enumerate(
        (
            (xml(number=number(0)), "application/xml"),
            (xml(PINYIN, number=number(1)), "text/xml; charset=utf-8"),
            (ofd(xml(ORIGINAL_INVOICE, number=number(2), code="").decode()), "application/ofd"),
        )
    ):
        claim_id = await sale(house, f"k{n}")
        answer = await send(house, claim_id, content, kind)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["number"], told["total_fen"]) == (number(n), PRICE)
        assert told["file_sha256"] == hashlib.sha256(content).hexdigest()
        assert (await papers(house, claim_id))["invoices"] == [told]
        assert (await filed(house, claim_id, n, buyer=told["buyer"]))["number"] == number(n)
        assert (await papers(house, claim_id))["invoices"] == [told]  # the file's hash stays


async def test_a_file_of_another_seller_is_refused(house: House) -> None:
    claim_id = await sale(house, "k1")
    answer = await send(house, claim_id, filled(ENGLISH, seller_id="91330402MA0000004D").encode())
    refused(answer, 422, "invalid_field")
    assert answer.json()["fields"][0]["field"] == "seller"
    assert (await papers(house, claim_id))["invoices"] == []


async def test_a_file_is_checked_as_json_is(house: House) -> None:
    claim_id = await sale(house, "k1", pieces=2)
    refused(await send(house, claim_id, xml(total="1.00")), 422, "invoice_total_differs")
    refused(await send(house, claim_id, xml(number="24332000000000000001")), 422, "invalid_field")
    refused(await send(house, claim_id, xml(), lines="1,1"), 422, "invalid_field")
    refused(await send(house, claim_id, xml(), line="1"), 422, "invalid_field")
    company = filled(ENGLISH, seller_id=RETAILER_USCC, buyer_id=RETAILER_USCC).encode()
    refused(await send(house, claim_id, company, lines="2"), 422, "invalid_field")
    detail = refused(
        await send(house, claim_id, b"%PDF-1.7", "application/pdf"), 400, "malformed_request"
    )
    assert "OFD" in detail
    answer = await send(house, claim_id, xml(), lines="2")
    assert (answer.status_code, answer.json()["lines"]) == (200, [2])
    async with house.client() as client:
        path = f"/v1/claims/{claim_id}/invoice"
        answer = await client.put(path, json=invoice_json(7), params={"lines": "1"})
    refused(answer, 422, "invalid_field")


async def test_a_red_letter_file_says_what_it_takes_back_or_the_till_does(house: House) -> None:
    claim_id = await sale(house, "k1")
    assert (await send(house, claim_id, xml())).status_code == 200
    await give_back(house, claim_id, 1)
    red = xml(PINYIN, number=number(2), total="-5999.00")
    refused(await send(house, claim_id, red), 422, "invalid_field")
    answer = await send(house, claim_id, red, red_letter_of="25332000000012345678")
    assert (answer.status_code, answer.json()["total_fen"]) == (200, -PRICE), answer.text


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/xml"),
        (b"<?xml version='1.0'?><!DOCTYPE a><a/>", "application/xml"),
        (b"<a>" * 100_000, "application/xml"),
        (b"PK\x03\x04 no zip", "application/ofd"),
        (xml(), "application/ofd"),
        (ofd(filled(ORIGINAL_INVOICE, code="")), "application/xml"),
    ],
)
async def test_a_file_that_is_no_invoice_is_refused_with_a_sentence(
    house: House, content: bytes, kind: str
) -> None:
    claim_id = await sale(house, "k1")
    detail = refused(await send(house, claim_id, content, kind), 422, "bad_file")
    assert len(detail) > 20
    assert (await papers(house, claim_id))["invoices"] == []


async def test_only_a_file_may_be_large(house: House) -> None:
    claim_id = await sale(house, "k1")
    refused(await send(house, claim_id, b" " * 300_000, "application/json"), 413, "body_too_large")
    refused(await send(house, claim_id, b" " * (10 << 20), "application/xml"), 422, "bad_file")
    refused(await send(house, claim_id, b" " * ((10 << 20) + 1)), 413, "body_too_large")


# --- reconciliation by invoice ----------------------------------------------------------


@pytest.mark.parametrize("rows", ["sales", "movements"])
async def test_a_file_by_invoice_has_a_row_for_each_invoice_of_a_claim(
    house: House, rows: str
) -> None:
    split, whole = await sale(house, "k1", pieces=2), await sale(house, "k2")
    await filed(house, split, 1, lines=[1])
    await filed(house, split, 2, lines=[2])
    await filed(house, whole, 3)
    lines = await house.sql("SELECT subsidy_fen FROM claim_line WHERE claim_id = $1", split)
    amounts = [row["subsidy_fen"] for row in lines] + [119_980]
    content = "invoice,amount\n" + "".join(
        f"{number(n)},{fen / 100:.2f}\n" for n, fen in enumerate(amounts, 1)
    )
    async with house.client("finance") as client:
        query = {
            "from": "2025-06-18",
            "to": "2025-06-18",
            "invoice_no": "invoice",
            "amount": "amount",
            "rows": rows,
        }
        answer = await client.post("/v1/reconciliations", params=query, content=content.encode())
    assert answer.status_code == 202, answer.text
    assert counts(await ended(house, answer.headers["Location"])) == {"matched": 3}
