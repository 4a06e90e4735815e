"""A till finds what it did: by key, by id, by order, serial, state and time."""

import re
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from loadtests.seed import seed
from service.claims.ledger.finding import ClaimFilter, page_query
from tests.builders import imei, item_json, resident_id, serial
from tests.conftest import NOW, House

pytestmark = pytest.mark.anyio


async def get(house: House, path: str, role: str = "pos", **params: Any) -> httpx.Response:
    async with house.client(role) as client:
        return await client.get(path, params=params)


async def claims(house: House, count: int) -> list[str]:
    """Ids of that many claims, oldest first; each third is a hold."""
    made = []
    for n in range(count):
        answer = await house.claim(
            f"k{n}",
            order_no=f"POS-{n // 2}",
            hold=n % 3 == 0,
            consumer={"id_type": "resident_id", "id_number": resident_id(n)},
            items=[item_json(serial_no=serial(n))],
        )
        made.append(answer.json()["claim_id"])
    return made


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [claim["claim_id"] for claim in answer.json()["claims"]]


async def test_a_lost_answer_is_found_by_its_key(house: House) -> None:
    claim = (await house.claim("pos/2025 06".replace(" ", "?"))).json()
    found = await get(house, "/v1/claims/by-key/pos%2F2025%3F06")
    assert found.json() == claim
    assert (await get(house, "/v1/claims/by-key/never")).status_code == 404
    assert (await get(house, "/v1/claims/by-key/pos%2F2025%3F06", "other")).status_code == 404


async def test_a_claim_on_its_way_is_in_flight(house: House) -> None:
    seen = []
    commit = house.service.claims.ledger.commit

    async def commit_and_look(batch, **how):  # type: ignore[no-untyped-def]
        seen.append((await get(house, "/v1/claims/by-key/k1")).json())
        other = await house.open_worker()
        async with house.client(app=other) as client:
            seen.append((await client.get("/v1/claims/by-key/k1")).json())
        return await commit(batch, **how)

    house.service.claims.ledger.commit = commit_and_look  # type: ignore[method-assign]
    await house.claim("k1")
    assert seen == [{"state": "in_flight"}] * 2
    assert (await get(house, "/v1/claims/by-key/k1")).json()["state"] == "confirmed"


async def test_a_key_is_found_without_redis(gateless_house: House) -> None:
    claim = (await gateless_house.claim("k1")).json()
    assert (await get(gateless_house, "/v1/claims/by-key/k1")).json() == claim
    assert (await get(gateless_house, "/v1/claims/by-key/k2")).status_code == 404


async def test_claims_are_found_by_each_of_their_marks(house: House) -> None:
    made = await claims(house, 6)
    newest_first = made[::-1]
    assert ids(await get(house, "/v1/claims")) == newest_first
    assert ids(await get(house, "/v1/claims", order_no="POS-1")) == [made[3], made[2]]
    assert ids(await get(house, "/v1/claims", serial_no=serial(4).lower())) == [made[4]]
    assert ids(await get(house, "/v1/claims", state="reserved")) == [made[3], made[0]]
    assert ids(await get(house, "/v1/claims", state="reserved", order_no="POS-1")) == [made[3]]
    assert ids(await get(house, "/v1/claims", serial_no="none")) == []


async def test_a_phone_is_found_by_its_imei(house: House) -> None:
    phone = item_json(
        category="phone", energy_grade=None, price_fen=300_000, imei="860123040000019"
    )
    claim_id = (await house.claim("k1", items=[phone])).json()["claim_id"]
    assert ids(await get(house, "/v1/claims", serial_no="860123040000019")) == [claim_id]
    assert ids(await get(house, "/v1/claims", serial_no="86-012304 000001-9")) == [claim_id]


async def test_a_claim_is_found_by_each_spelling_of_its_serial(house: House) -> None:
    phone = item_json(
        category="phone",
        energy_grade=None,
        price_fen=300_000,
        serial_no="sn-12 3a",
        imei=imei(1),
        imei2=imei(2),
    )
    claim_id = (await house.claim("k1", items=[phone])).json()["claim_id"]
    spellings = ("SN123A", "sn123a", "SN-12 3A", "s-n 1-2 3-a", imei(2))
    for serial_no in spellings:
        assert ids(await get(house, "/v1/claims", serial_no=serial_no)) == [claim_id]
    async with house.client() as client:
        refunded = await client.post(
            f"/v1/claims/{claim_id}/refunds",
            json={"lines": [1], "reason": "returned"},
            headers={"Idempotency-Key": "r"},
        )
    assert refunded.status_code == 201
    for serial_no in spellings:
        assert ids(await get(house, "/v1/claims", serial_no=serial_no)) == [claim_id]
    assert ids(await get(house, "/v1/claims", serial_no="SN12")) == []


async def test_time_is_a_day_or_an_instant(house: House) -> None:
    made = await claims(house, 3)
    created = [(await get(house, f"/v1/claims/{one}")).json()["created_at"] for one in made]
    assert ids(await get(house, "/v1/claims", **{"from": "2025-06-18", "to": "2025-06-18"}))
    assert not ids(await get(house, "/v1/claims", to="2025-06-17"))
    assert not ids(await get(house, "/v1/claims", **{"from": "2025-06-19"}))
    assert ids(await get(house, "/v1/claims", **{"from": created[1]})) == [made[2], made[1]]
    assert ids(await get(house, "/v1/claims", to=created[1])) == [made[0]]


async def test_pages_stay_right_while_claims_arrive(house: House) -> None:
    made = await claims(house, 7)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for page in range(10):
        answer = await get(house, "/v1/claims", limit=2, **cursor)
        seen += ids(answer)
        await house.claim(f"new{page}", items=[item_json(serial_no=f"NEW{page}")])
        if answer.json()["next_cursor"] is None:
            break
        cursor = {"cursor": answer.json()["next_cursor"]}
    assert seen == made[::-1]


@pytest.mark.parametrize(
    "bad",
    [
        {"limit": 0},
        {"serial": "SN1"},
        {"limit": 201},
        {"limit": "all"},
        {"cursor": "next"},
        {"state": "paid"},
        {"from": "yesterday"},
        {"to": "2025-02-30"},
        {"from": "1750212000"},
        {"order_no": "a\x00b"},
        {"order_no": ""},
        {"serial_no": "x" * 65},
        {"serial_no": " - "},
    ],
)
async def test_a_bad_filter_gets_a_sentence(house: House, bad: dict[str, Any]) -> None:
    answer = await get(house, "/v1/claims", **bad)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["fields"][0]["field"] == f"query.{next(iter(bad))}"


async def test_another_retailers_claim_looks_like_none(house: House) -> None:
    made = await claims(house, 1)
    assert ids(await get(house, "/v1/claims", "other")) == []
    assert ids(await get(house, "/v1/claims", "other", serial_no=serial(0))) == []
    assert (await get(house, f"/v1/claims/{made[0]}", "other")).status_code == 404


MANY = 1_000_000
A_CLAIM = """
SELECT claim_id, order_no, serial_no FROM claim JOIN claim_line USING (claim_id)
WHERE retailer_id = 'seed01' AND claim.state = 'expired' LIMIT 1
"""

HYPHENS = """
UPDATE claim_line SET serial_no = substr(serial_no, 1, 4) || '-' || substr(serial_no, 5)
WHERE get_byte(uuid_send(claim_id), 15) % 10 = 0
"""
A_HYPHEN = "SELECT serial_no FROM claim_line WHERE serial_no LIKE '%-%' LIMIT 1"


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_every_list_runs_on_an_index_with_a_million_claims(empty_database_url: str) -> None:
    await seed(empty_database_url, 1_000_000, NOW, close=False)
    connection = await asyncpg.connect(empty_database_url)
    claim_id, order_no, serial_no = await connection.fetchrow(A_CLAIM)
    # Every tenth serial number is typed with a hyphen.
    await connection.execute(HYPHENS, timeout=300)
    typed = await connection.fetchval(A_HYPHEN)
    each_kind = [
        ClaimFilter(),
        ClaimFilter(order_no=order_no),
        ClaimFilter(serial_no=serial_no),
        ClaimFilter(serial_no=typed),
        ClaimFilter(state="confirmed"),
        ClaimFilter(state="cancelled"),
        ClaimFilter(state="reserved"),
        ClaimFilter(state="expired", order_no=order_no),
    ]
    of_all = [
        ClaimFilter(claim_id=claim_id),
        ClaimFilter(order_no=order_no),
        ClaimFilter(serial_no=serial_no),
        ClaimFilter(invoice_no="25332000000012345678"),
    ]
    searches = [("seed01", wanted) for wanted in each_kind] + [(None, one) for one in of_all]
    for retailer_id, wanted in searches:
        statement, arguments = page_query("330402", retailer_id, wanted, UUID(int=2**127), 51)
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", *arguments)
        plan = "\n".join(row[0] for row in rows)
        print(wanted, plan, sep="\n")
        assert "Seq Scan" not in plan, plan
        # A few pages of the index and of the table, whatever their size.
        touched = re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", plan)
        assert touched is not None
        assert sum(int(pages or 0) for pages in touched.groups()) < 2_000, plan
    await connection.close()
