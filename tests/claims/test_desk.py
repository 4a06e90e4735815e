"""A citizen says that a right was used: the bureau finds the claim, and learns no more than it
must."""

from typing import Any

import httpx
import pytest

from service.claims.ledger.finding import ClaimFilter, page_query
from service.claims.people.digests import Digester
from service.config import SANDBOX_PII_KEY
from service.retailers.keys import ROLES
from tests.builders import item_json, resident_id, serial
from tests.conftest import House
from tests.finance.books import INVOICE_ALL

pytestmark = pytest.mark.anyio

ROLE_WITH_SCOPE = ("bureau", "finance")


async def find(house: House, role: str = "bureau", **params: Any) -> httpx.Response:
    async with house.client(role) as client:
        return await client.get("/v1/claims", params=params)


async def sales(house: House) -> list[str]:
    """Ids of three claims of two retailers, oldest first; the first two share an order number."""
    made = []
    for n, (role, store_id) in enumerate(
        (("pos", "NH0001"), ("other", "OT0001"), ("pos", "NH0002"))
    ):
        answer = await house.claim(
            f"k{n}",
            role=role,
            store_id=store_id,
            order_no="SAME" if n < 2 else "LAST",
            consumer={"id_type": "resident_id", "id_number": resident_id(n)},
            items=[item_json(serial_no=serial(n))],
        )
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["claim_id"])
    return made


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [claim["claim_id"] for claim in answer.json()["claims"]]


@pytest.mark.parametrize("role", ROLE_WITH_SCOPE)
async def test_a_claim_of_any_retailer_is_found_by_each_mark(house: House, role: str) -> None:
    first, second, third = await sales(house)
    await house.sql(INVOICE_ALL)
    (row,) = await house.sql("SELECT number FROM invoice WHERE claim_id = $1::uuid", second)
    assert ids(await find(house, role, claim_id=third)) == [third]
    assert ids(await find(house, role, order_no="SAME")) == [second, first]
    assert ids(await find(house, role, order_no="SAME", retailer="other")) == [second]
    assert ids(await find(house, role, invoice_no=row["number"])) == [second]
    for typed in (serial(2).lower(), f"{serial(2)[:4]}-{serial(2)[4:]}"):
        assert ids(await find(house, role, serial_no=typed)) == [third]
    assert ids(await find(house, role, claim_id=third, retailer="other")) == []
    assert ids(await find(house, role, claim_id=third, state="reserved")) == []
    assert ids(await find(house, role, serial_no="NONE")) == []


async def test_an_answer_has_the_retailer_the_store_and_each_lines_invoice(house: House) -> None:
    phone = {"category": "phone", "energy_grade": None, "price_fen": 300_000}
    made = await house.claim(
        "k1", items=[item_json(), item_json(line_no=2, serial_no=serial(2), **phone)]
    )
    claim = made.json()
    (before,) = (await find(house, claim_id=claim["claim_id"])).json()["claims"]
    assert [line.pop("invoice") for line in before["lines"]] == [None, None]
    typed = [item_json()["serial_no"], serial(2)]
    assert [line.pop("serial_no") for line in before["lines"]] == typed
    assert before.pop("retailer_id") == "sandbox"
    assert before == claim
    number = "25332000000012345678"
    invoice = {"number": number, "date": "2025-06-18", "buyer": "王小明", "total_fen": 899_900}
    async with house.client() as client:
        filed = await client.put(f"/v1/claims/{claim['claim_id']}/invoice", json=invoice)
        assert filed.status_code == 200, filed.text
        await client.post(
            f"/v1/claims/{claim['claim_id']}/refunds",
            json={"lines": [2], "reason": "returned"},
            headers={"Idempotency-Key": "r1"},
        )
    answer = await find(house, claim_id=claim["claim_id"])
    (after,) = answer.json()["claims"]
    paper = {"number": number, "code": None, "date": "2025-06-18", "total_fen": 899_900}
    assert [line["invoice"] for line in after["lines"]] == [paper, paper]
    assert [line["state"] for line in after["lines"]] == ["confirmed", "refunded"]
    assert "王小明" not in answer.text
    assert resident_id(1) not in answer.text and resident_id(1)[-4:] not in str(after["lines"])


async def test_lines_with_invoices_of_their_own_show_theirs(house: House) -> None:
    phone = {"category": "phone", "energy_grade": None, "price_fen": 300_000}
    made = await house.claim(
        "k1", items=[item_json(), item_json(line_no=2, serial_no=serial(2), **phone)]
    )
    claim_id = made.json()["claim_id"]
    number = "25332000000012345678"
    invoice = {"number": number, "date": "2025-06-18", "buyer": "王小明", "total_fen": 300_000}
    async with house.client() as client:
        filed = await client.put(f"/v1/claims/{claim_id}/invoice", json={**invoice, "lines": [2]})
    assert filed.status_code == 200, filed.text
    (claim,) = (await find(house, claim_id=claim_id)).json()["claims"]
    shown = [line["invoice"] and line["invoice"]["number"] for line in claim["lines"]]
    assert shown == [None, number]
    for spelling in (number, f" {number[:10]} {number[10:]}"):
        assert ids(await find(house, invoice_no=spelling)) == [claim_id]


async def test_many_hits_come_in_pages_newest_first(house: House) -> None:
    first, second, _ = await sales(house)
    page = (await find(house, order_no="SAME", limit=1)).json()
    assert [claim["claim_id"] for claim in page["claims"]] == [second]
    rest = await find(house, order_no="SAME", limit=1, cursor=page["next_cursor"])
    assert ids(rest) == [first]
    assert rest.json()["next_cursor"] is None


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "query"),
        ({"state": "confirmed"}, "query"),
        ({"order_no": "A", "serial_no": "B"}, "query"),
        ({"claim_id": "12"}, "query.claim_id"),
        ({"order": "A"}, "query.order"),
        ({"order_no": ["A", "B"]}, "query.order_no"),
        ({"invoice_no": ""}, "query.invoice_no"),
        ({"order_no": "A", "retailer": "a b"}, "query.retailer"),
    ],
)
async def test_the_desk_asks_by_one_mark(house: House, params: dict[str, Any], field: str) -> None:
    answer = await find(house, **params)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["fields"][0]["field"] == field
    assert "取值无效" not in answer.text


async def test_a_retailer_goes_on_seeing_its_own_claims_only(house: House) -> None:
    first, second, third = await sales(house)
    assert ids(await find(house, "pos")) == [third, first]
    assert ids(await find(house, "pos", claim_id=second)) == []
    assert ids(await find(house, "pos", retailer="other")) == []
    assert ids(await find(house, "pos", retailer="sandbox", order_no="SAME")) == [first]
    assert ids(await find(house, "other", order_no="SAME")) == [second]
    own = (await find(house, "other", claim_id=second)).json()["claims"][0]
    assert "retailer_id" not in own and "invoice" not in own["lines"][0]


async def test_a_key_of_neither_scope_finds_nothing(house: House) -> None:
    answer = await find(house, "admin", order_no="SAME")
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


async def test_a_key_from_before_the_scope_has_to_be_replaced_by_a_new_one(house: House) -> None:
    await house.sql("UPDATE api_key SET scopes = '{budgets:read}' WHERE label = 'sandbox bureau'")
    assert (await find(house, order_no="SAME")).status_code == 403
    assert [role for role, scopes in ROLES.items() if "claims:read" in scopes] == [
        "finance",
        "bureau",
    ]


# --- by person ----------------------------------------------------------------------------


async def search(
    house: House, number: str, *, id_type: str = "resident_id", role: str = "bureau", **query: Any
) -> httpx.Response:
    body = {"id_type": id_type, "id_number": number}
    async with house.client(role) as client:
        return await client.post("/v1/claims/search", json=body, params=query)


async def acts(house: House) -> list[dict[str, Any]]:
    """The searches on record, newest first."""
    async with house.client("admin") as client:
        listed = (await client.get("/v1/acts")).json()["acts"]
    return [act for act in listed if act["act"] == "person.search"]


async def buy(house: House, n: int, number: str, *, id_type: str = "resident_id") -> str:
    role, store_id = (("pos", "NH0001"), ("other", "OT0001"))[n % 2]
    answer = await house.claim(
        f"p{n}",
        role=role,
        store_id=store_id,
        consumer={"id_type": id_type, "id_number": number},
        items=[item_json(serial_no=serial(100 + n))],
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["claim_id"])


@pytest.mark.parametrize("role", ROLE_WITH_SCOPE)
async def test_a_persons_claims_are_found_at_every_retailer(house: House, role: str) -> None:
    number = resident_id(7)
    made = [await buy(house, n, number) for n in range(3)]
    await buy(house, 3, resident_id(8))
    answer = await search(house, number, role=role)
    assert ids(answer) == made[::-1]
    retailers = [claim["retailer_id"] for claim in answer.json()["claims"]]
    assert retailers == ["sandbox", "other", "sandbox"]
    page = await search(house, number, role=role, limit=2)
    assert ids(page) == made[:0:-1]
    assert (
        ids(await search(house, number, role=role, cursor=page.json()["next_cursor"])) == made[:1]
    )
    assert ids(await search(house, resident_id(9), role=role)) == []


async def test_a_renewed_permit_is_the_same_person(house: House) -> None:
    first = await buy(house, 0, "H1234567801", id_type="hk_macao_permit")
    assert ids(await search(house, "H1234567802", id_type="hk_macao_permit")) == [first]
    assert ids(await search(house, "H1234567901", id_type="hk_macao_permit")) == []
    assert ids(await search(house, "H1234567801", id_type="passport")) == []


async def test_a_claim_is_found_by_whichever_key_digested_its_person(house: House) -> None:
    number = resident_id(7)
    made = [await buy(house, n, number) for n in range(3)]
    keys = (SANDBOX_PII_KEY, "the second key of this test", "the third key of this test")
    for n, claim_id in enumerate(made):
        for generation in range(2, n + 2):
            await house.sql(
                "UPDATE claim SET consumer_digest = wrapped_digest(consumer_digest, $2, $3, $4)"
                " WHERE claim_id = $1::uuid",
                claim_id,
                generation,
                *Digester(*keys[:generation]).pads(),
            )
    assert ids(await search(house, number)) == made[:1]
    object.__setattr__(house.service.claims, "digester", Digester(*keys))
    assert ids(await search(house, number)) == made[::-1]


async def test_a_search_is_on_record_and_nothing_leads_to_the_person(house: House) -> None:
    number = resident_id(7)
    for n in range(2):
        await buy(house, n, number)
    answers = [
        await search(house, number),
        await search(house, number, limit=1),
        await search(house, resident_id(9), role="finance"),
    ]
    nobody, first_of_more, both = await acts(house)
    assert both["after"] == {"claims": 2, "more": False}
    assert first_of_more["after"] == {"claims": 1, "more": True}
    assert nobody["after"] == {"claims": 0, "more": False}
    assert nobody["actor"] != both["actor"] == first_of_more["actor"]
    assert {(act["subject_kind"], act["subject_id"]) for act in (nobody, both)} == {
        ("person", "resident_id")
    }
    digests = {digest.hex() for (digest,) in await house.sql("SELECT consumer_digest FROM claim")}
    rows = await house.sql("SELECT to_jsonb(a)::text FROM admin_act AS a")
    shown = "".join([*(answer.text for answer in answers), *(row[0] for row in rows)])
    for secret in (number, number[-4:], *digests):
        assert secret not in shown
    # Nor anywhere else in the ledger: the last four digits of a claim are all it has.
    for (table,) in await house.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        (row,) = await house.sql(
            f'SELECT count(*) FROM "{table}" AS t WHERE to_jsonb(t)::text LIKE $1', f"%{number}%"
        )
        assert row[0] == 0, table


async def test_a_search_that_cannot_be_put_on_record_shows_nothing(house: House) -> None:
    await buy(house, 0, resident_id(7))
    await house.sql("ALTER TABLE admin_act ADD CONSTRAINT full_up CHECK (act <> 'person.search')")
    answer = await search(house, resident_id(7))
    assert answer.status_code == 500
    assert "claim_id" not in answer.text


@pytest.mark.parametrize("role", ["pos", "other", "admin"])
async def test_only_the_desk_searches_for_a_person(house: House, role: str) -> None:
    answer = await search(house, resident_id(7), role=role)
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert await acts(house) == []


WRONG = resident_id(7)[:-1] + ("0" if resident_id(7)[-1] != "0" else "1")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id_type": "resident_id", "id_number": WRONG}, "id_number"),
        ({"id_type": "resident_id"}, "id_number"),
        ({"id_type": "driver", "id_number": resident_id(7)}, "id_type"),
        ({"id_type": "resident_id", "id_number": resident_id(7), "name": "x"}, "name"),
    ],
)
async def test_a_wrong_document_is_not_echoed(
    house: House, body: dict[str, Any], field: str
) -> None:
    async with house.client("bureau") as client:
        answer = await client.post("/v1/claims/search", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["fields"][0]["field"] == field
    assert WRONG[:14] not in answer.text
    assert await acts(house) == []


async def test_a_number_in_the_address_is_refused_and_not_echoed(house: House) -> None:
    answer = await search(house, resident_id(7), id_number=resident_id(7))
    assert answer.status_code == 422
    assert answer.json()["fields"][0]["field"] == "query.id_number"
    assert resident_id(7) not in answer.text


async def test_searches_count_against_the_keys_rate(house: House) -> None:
    limited = await house.open_worker(rate_limit_per_s=1, rate_limit_burst=1)
    body = {"id_type": "resident_id", "id_number": resident_id(7)}
    async with house.client("bureau", limited) as client:
        answers = [await client.post("/v1/claims/search", json=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


MANY_CLAIMS = """
INSERT INTO claim SELECT (jsonb_populate_record(c, jsonb_build_object(
    'claim_id', gen_random_uuid(), 'order_no', 'O' || n, 'retailer_id', 'r' || n % 50,
    'consumer_digest', '\\x' || md5(n::text)))).*
FROM claim AS c, generate_series(1, 20000) AS n
"""
MANY_RETAILERS = """
INSERT INTO retailer SELECT (jsonb_populate_record(r, jsonb_build_object(
    'retailer_id', 'r' || n, 'uscc', 'u' || n))).*
FROM retailer AS r, generate_series(1, 50) AS n WHERE r.retailer_id = 'sandbox'
"""


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (ClaimFilter(consumer_digests=(b"a" * 16, b"\2" + b"b" * 16)), "claim_consumer_idx"),
        (ClaimFilter(order_no="O77"), "claim_order_idx"),
    ],
)
async def test_the_desk_finds_along_an_index(
    house: House, filters: ClaimFilter, index: str
) -> None:
    await house.claim("k1")
    for statement in (MANY_CLAIMS, MANY_RETAILERS, "ANALYZE claim, retailer"):
        await house.slow_sql(statement)
    statement, arguments = page_query("330402", None, filters, None, 51)
    plan = "\n".join(row[0] for row in await house.sql(f"EXPLAIN {statement}", *arguments))
    assert index in plan and "Seq Scan on claim" not in plan, plan
