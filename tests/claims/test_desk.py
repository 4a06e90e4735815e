"""A citizen says that a right was used: the bureau finds the claim, and learns no more than it
must."""

from typing import Any

import httpx
import pytest

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
    assert ids(await find(house, role, serial_no=serial(2).lower())) == [third]
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
    assert before.pop("retailer_id") == "sandbox"
    assert before == claim
    invoice = {"number": "N9", "date": "2025-06-18", "buyer": "王小明", "total_fen": 899_900}
    async with house.client() as client:
        await client.put(f"/v1/claims/{claim['claim_id']}/invoice", json=invoice)
        await client.post(
            f"/v1/claims/{claim['claim_id']}/refunds",
            json={"lines": [2], "reason": "returned"},
            headers={"Idempotency-Key": "r1"},
        )
    answer = await find(house, claim_id=claim["claim_id"])
    (after,) = answer.json()["claims"]
    filed = {"number": "N9", "code": "", "dated_on": "2025-06-18", "total_fen": 899_900}
    assert [line["invoice"] for line in after["lines"]] == [filed, filed]
    assert [line["state"] for line in after["lines"]] == ["confirmed", "refunded"]
    assert "王小明" not in answer.text
    assert resident_id(1) not in answer.text and resident_id(1)[-4:] not in str(after["lines"])


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
