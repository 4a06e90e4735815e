"""One piece is subsidised once, however its serial number is typed."""

import asyncio

import pytest

from service.claims.people.digests import Digester
from tests.audit.command import audit
from tests.builders import imei, item_json
from tests.claims.pieces import (
    as_in_0_1_0,
    buyer,
    give_back,
    held,
    refused_as_claimed,
    sell,
)
from tests.conftest import House

pytestmark = pytest.mark.anyio


SPELLINGS = ["SN-001", "SN001", "sn 001", "s-n-0-0-1"]


@pytest.mark.parametrize("first", SPELLINGS)
async def test_another_spelling_is_refused_in_either_order(house: House, first: str) -> None:
    made = (await sell(house, 0, first)).json()
    for n, other in enumerate(SPELLINGS, start=1):
        answer = await sell(house, n, other)
        assert refused_as_claimed(answer), answer.text
        assert answer.json()["reasons"][0]["claim_id"] == made["claim_id"]
    await house.quiet()
    assert (await audit(house)).exit_code == 0


async def test_without_the_gate_another_spelling_is_refused_too(gateless_house: House) -> None:
    house = gateless_house
    assert (await sell(house, 0, "SN-001")).status_code == 201
    assert refused_as_claimed(await sell(house, 1, "sn001"))


async def test_the_letter_o_is_no_zero(house: House) -> None:
    for n, serial_no in enumerate(["SN-O01", "SN-001", "SN-OO1"]):
        assert (await sell(house, n, serial_no)).status_code == 201
    assert await held(house) == sorted(
        [*("SN-O01", "SNO01"), *("SN-001", "SN001"), *("SN-OO1", "SNOO1")]
    )


async def test_the_ledger_keeps_a_serial_as_typed_and_holds_it_as_folded(house: House) -> None:
    await sell(house, 0, " sn-1 a ")
    await sell(house, 1, "ab1")
    rows = await house.sql("SELECT serial_no FROM claim_line ORDER BY claim_id")
    assert [row["serial_no"] for row in rows] == ["sn-1 a", "ab1"]
    assert await held(house) == ["AB1", "SN-1 A", "SN1A"]


async def test_a_retry_in_another_case_is_a_repeat(house: House) -> None:
    first = await sell(house, 0, "sn-1a")
    again = await sell(house, 0, "SN-1A")
    assert again.json() == first.json() and again.headers["Idempotency-Replayed"] == "true"
    other = await sell(house, 0, "SN1A")
    assert other.json()["code"] == "idempotency_key_reused"


async def test_a_claim_of_the_former_release_is_found_by_its_own_spelling(house: House) -> None:
    claim_id = (await sell(house, 0, "sn-001")).json()["claim_id"]
    await as_in_0_1_0(house, claim_id)
    assert await held(house) == ["SN-001"]
    for n, same in enumerate(["SN-001", "sn-001"], start=1):
        assert refused_as_claimed(await sell(house, n, same))
    await house.quiet()
    assert (await audit(house)).exit_code == 0


@pytest.mark.parametrize("end", ["refund", "cancel", "expire"])
async def test_a_returned_piece_is_free_under_every_spelling(house: House, end: str) -> None:
    held_back = end != "refund"
    made = await house.claim("k0", hold=held_back, items=[item_json(serial_no="sn-001")])
    claim_id = made.json()["claim_id"]
    if end == "refund":
        assert (await give_back(house, claim_id)).status_code == 201
    elif end == "cancel":
        async with house.client() as client:
            assert (await client.post(f"/v1/claims/{claim_id}/cancel")).status_code == 200
    else:
        await house.sql("UPDATE claim SET expires_at = created_at")
        await house.service.claims.sweeper.run_once()
    assert await held(house) == []
    for n, spelling in enumerate(["SN001", "SN-001"], start=1):
        again = await sell(house, n, spelling)
        assert again.status_code == 201, again.text
        assert (await give_back(house, again.json()["claim_id"])).status_code == 201
    await house.quiet()
    assert (await audit(house)).exit_code == 0


async def test_of_many_tills_with_many_spellings_one_sells(house: House) -> None:
    spellings = ["SN-0042", "SN0042", "sn 0042", "S-N-0-0-4-2", "sn-0042"]
    worker = await house.open_worker()
    answers = await asyncio.gather(
        *(
            house.claim(
                f"k{n}",
                app=worker if n % 2 else None,
                consumer=buyer(n),
                items=[item_json(serial_no=spellings[n % len(spellings)])],
            )
            for n in range(40)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 39
    assert all(refused_as_claimed(answer) for answer in answers if answer.status_code == 409)
    await house.quiet()
    assert (await audit(house)).exit_code == 0


async def test_one_sale_cannot_have_one_piece_twice(house: House) -> None:
    items = [item_json(serial_no="SN-1"), item_json(serial_no="sn1", line_no=2)]
    answer = await house.claim("k", items=items)
    assert refused_as_claimed(answer)
    assert "第 1 行" in answer.json()["reasons"][0]["detail"]


async def test_each_imei_of_a_phone_is_taken_once(house: House) -> None:
    phone = {"category": "phone", "energy_grade": None, "price_fen": 300_000}
    made = await sell(house, 0, "PH-1", **phone, imei=imei(1), imei2="86-012304-000002-7")
    assert made.status_code == 201, made.text
    assert await held(house) == [imei(1), imei(2), "PH-1", "PH1"]
    facts = await house.sql("SELECT facts ->> 'imei2' AS imei2 FROM claim_line")
    assert facts[0]["imei2"] == imei(2)
    assert refused_as_claimed(await sell(house, 1, "PH2", **phone, imei=imei(2)))
    assert refused_as_claimed(await sell(house, 2, "PH3", **phone, imei=imei(3), imei2=imei(1)))
    assert refused_as_claimed(await sell(house, 3, "86-012304-000002-7", **phone))
    await house.quiet()
    assert (await audit(house)).exit_code == 0
    assert (await give_back(house, made.json()["claim_id"])).status_code == 201
    assert await held(house) == []


SENTENCES = {
    "zh": "IMEI 有误，应为 15 位数字（可含空格和连字符）并通过校验，且不得全为同一数字",
    "en": "is not an IMEI: 15 digits with a check digit, and not one digit 15 times; blanks and "
    "hyphens may be between them",
}


@pytest.mark.parametrize("language", SENTENCES)
@pytest.mark.parametrize("bad", ["1", "860123040000018", "8601230400000190", "X", "0" * 15])
async def test_one_sentence_serves_all_that_is_no_imei(
    house: House, language: str, bad: str
) -> None:
    async with house.client() as client:
        answer = await client.post(
            "/v1/quotes",
            json={
                "store_id": "NH0001",
                "order_no": "o",
                "sold_at": "2025-06-18T10:00:00+08:00",
                "consumer": buyer(1),
                "items": [item_json(imei=bad)],
            },
            headers={"Accept-Language": language},
        )
    assert answer.status_code == 422
    assert answer.json()["fields"] == [
        {"field": "items.0.imei", "detail": SENTENCES[language]},
    ]


def test_an_old_vehicle_has_the_digest_that_it_has_always_had() -> None:
    digester = Digester("k" * 32)
    (car,) = digester.vehicle("LFV3A23C1C3000015")
    assert car.hex() == "156aedacefaef8b4293daa3abe552d3e"
    (folded,) = digester.vehicle("OLD1")
    typed = digester.vehicle("OLD-1")
    assert [digest.hex() for digest in typed] == [folded.hex(), "bef2357f82319719a9476a3b1fcdf9d5"]
    rotating = Digester("k" * 32, "n" * 32, rotating=True)
    assert set(typed) < set(rotating.vehicle("OLD-1")) and len(rotating.vehicle("OLD-1")) == 4
