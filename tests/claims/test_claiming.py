"""What a till gets for one claim after another."""

import pytest

from tests.builders import checkout_json, imei, item_json, resident_id, serial, vin
from tests.conftest import House

pytestmark = pytest.mark.anyio


def buyer(n: int) -> dict[str, str]:
    return {"id_type": "resident_id", "id_number": resident_id(n)}


async def test_a_claim_is_granted_and_its_money_leaves_the_budget(house: House) -> None:
    answer = await house.claim("k1")
    assert answer.status_code == 201
    claim = answer.json()
    assert (claim["state"], claim["subsidy_fen"], claim["payable_fen"]) == (
        "confirmed",
        119_980,
        479_920,
    )
    async with house.client("bureau") as bureau:
        budget = (await bureau.get("/v1/budgets/appliances")).json()
    assert budget["confirmed_fen"] == 119_980
    assert budget["remaining_fen"] == budget["allocated_fen"] - 119_980
    entries = await house.sql("SELECT kind, amount_fen FROM journal WHERE claim_id IS NOT NULL")
    assert [tuple(entry) for entry in entries] == [("grant", 119_980)]


async def test_the_same_key_answers_with_the_same_claim(house: House) -> None:
    items = [item_json(line_no=2), item_json(line_no=1, serial_no=serial(2))]
    first = await house.claim("k1", items=items)
    again = await house.claim("k1", items=items)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await house.sql("SELECT 1 FROM claim")) == 1


async def test_the_same_key_with_another_body_is_told_so(house: House) -> None:
    await house.claim("k1")
    reused = await house.claim("k1", order_no="another")
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_retry_is_answered_with_its_claim_when_the_pool_is_empty(house: House) -> None:
    first = await house.claim("k1")
    await house.set_budget("appliances", 119_980)
    assert (await house.claim("k1")).content == first.content
    other = await house.claim("k2", consumer=buyer(2), items=[item_json(serial_no=serial(2))])
    assert other.json()["reasons"][0]["code"] == "budget_exhausted"


async def test_a_retry_is_answered_with_its_claim_when_the_store_is_suspended(
    house: House,
) -> None:
    first = await house.claim("k1")
    await house.sql("UPDATE store SET state = 'suspended' WHERE store_id = 'NH0001'")
    worker = await house.open_worker()
    assert (await house.claim("k1", app=worker)).content == first.content
    refused = await house.claim("k2", app=worker, items=[item_json(serial_no=serial(2))])
    assert refused.json()["reasons"][0]["code"] == "store_not_enrolled"


async def test_a_refusal_is_not_remembered(house: House) -> None:
    await house.set_budget("appliances", 0)
    assert (await house.claim("k1")).status_code == 409
    await house.set_budget("appliances", 10_000_000)
    assert (await house.claim("k1")).status_code == 201


async def test_one_bad_line_refuses_the_whole_claim(house: House) -> None:
    before = await house.footprint()
    items = [
        item_json(),
        item_json(line_no=2, category="dishwasher", serial_no=serial(2), energy_grade="3"),
    ]
    refused = await house.claim("k1", items=items)
    assert refused.status_code == 409
    assert [(r["line_no"], r["code"]) for r in refused.json()["reasons"]] == [
        (2, "grade_not_eligible")
    ]
    assert await house.footprint() == before


async def test_a_claimed_serial_names_the_claim_to_its_owner_alone(house: House) -> None:
    first = (await house.claim("k1")).json()
    own = (await house.claim("k2", consumer=buyer(2))).json()["reasons"][0]
    assert (own["code"], own["claim_id"]) == ("serial_already_claimed", first["claim_id"])
    assert first["claim_id"] in own["detail"]
    strange = await house.claim("k1", role="other", store_id="OT0001", consumer=buyer(2))
    reason = strange.json()["reasons"][0]
    assert reason["code"] == "serial_already_claimed"
    assert "claim_id" not in reason
    assert first["claim_id"] not in strange.text


async def test_a_phone_is_known_by_its_imei_too(house: House) -> None:
    def phone(n: int) -> dict[str, object]:
        return item_json(category="phone", price_fen=300_000, serial_no=serial(n), imei=imei(1))

    assert (await house.claim("k1", items=[phone(1)])).status_code == 201
    again = await house.claim("k2", consumer=buyer(2), items=[phone(2)])
    assert again.json()["reasons"][0]["code"] == "serial_already_claimed"


async def test_fourth_air_conditioner_is_refused(house: House) -> None:
    for n in range(3):
        answer = await house.claim(f"k{n}", items=[item_json(serial_no=serial(n))])
        assert answer.status_code == 201
    fourth = await house.claim("k4", items=[item_json(serial_no=serial(4))])
    assert fourth.json()["reasons"][0]["code"] == "quota_used"
    at_once = [item_json(line_no=n, serial_no=serial(10 + n)) for n in range(1, 5)]
    four = await house.claim("k5", consumer=buyer(5), items=at_once)
    assert [r["line_no"] for r in four.json()["reasons"]] == [4]


@pytest.mark.parametrize(
    ("id_type", "first", "renewed"),
    [
        ("hk_macao_permit", "H1234567801", "h1234567802"),
        ("hk_macao_permit", "H12345678", "H1234567801"),
        ("hk_macao_permit", "HA1234567", "ha123456701"),
        ("taiwan_permit", "0123456701A", "01234567"),
    ],
)
async def test_a_renewed_permit_brings_no_new_quota(
    house: House, id_type: str, first: str, renewed: str
) -> None:
    def fridge(n: int) -> dict[str, object]:
        return item_json(category="refrigerator", serial_no=serial(n))

    buyer = {"id_type": id_type, "id_number": first}
    assert (await house.claim("k1", consumer=buyer, items=[fridge(1)])).status_code == 201
    again = await house.claim("k2", consumer=buyer | {"id_number": renewed}, items=[fridge(2)])
    assert again.json()["reasons"][0]["code"] == "quota_used"
    other = buyer | {"id_number": first.replace("7", "6")}
    assert (await house.claim("k3", consumer=other, items=[fridge(3)])).status_code == 201


async def test_old_car_counts_once_a_year_and_person_once_for_both_kinds(house: House) -> None:
    def car(n: int, old: str, category: str = "fuel_car") -> dict[str, object]:
        return {
            "line_no": 1,
            "category": category,
            "price_fen": 15_000_000,
            "serial_no": vin(n),
            "trade_in": {
                "kind": "car",
                "serial_no": old,
                "document_no": "ZJ-1",
                "owned_since": "2021-03-01",
            },
        }

    first = await house.claim("k1", items=[car(1, "LFV3A23C1C3000015")])
    assert first.json()["lines"][0] | {"line_no": 1} == first.json()["lines"][0]
    assert (first.json()["subsidy_fen"], first.json()["lines"][0]["rate_bp"]) == (1_000_000, None)
    same_old = await house.claim("k2", consumer=buyer(2), items=[car(2, "LFV3A23C1C3000015")])
    assert same_old.json()["reasons"][0]["code"] == "quota_used"
    same_person = await house.claim("k3", items=[car(3, "LFV3A23C1C3000016", "new_energy_car")])
    assert same_person.json()["reasons"][0]["code"] == "quota_used"


async def test_elderly_quota_is_a_sum_and_the_sentence_says_what_is_left(house: House) -> None:
    def goods(n: int) -> dict[str, object]:
        return item_json(category="elderly_adaptation", price_fen=1_000_000, serial_no=serial(n))

    six = [goods(n) | {"line_no": n} for n in range(1, 7)]
    assert (await house.claim("k1", items=six)).json()["subsidy_fen"] == 1_800_000
    refused = (await house.claim("k2", items=[goods(9)])).json()["reasons"][0]
    assert refused["code"] == "quota_used"
    assert "2,000.00" in refused["detail"] or "2000.00" in refused["detail"]


async def test_a_quote_tells_what_stands_against_it_and_changes_nothing(house: House) -> None:
    await house.claim("k1")
    before = await house.footprint()
    async with house.client() as till:
        free = await till.post(
            "/v1/quotes",
            json=checkout_json(items=[item_json(serial_no=serial(2))]),
        )
        taken = await till.post("/v1/quotes", json=checkout_json())
    assert (free.json()["eligible"], free.json()["subsidy_fen"]) == (True, 119_980)
    line = taken.json()["lines"][0]
    assert (taken.json()["eligible"], line["eligible"], line["subsidy_fen"]) == (False, False, 0)
    assert line["reasons"][0]["code"] == "serial_already_claimed"
    assert await house.footprint() == before


async def test_a_quote_counts_the_lines_of_one_checkout_together(house: House) -> None:
    items = [item_json(line_no=n, category="refrigerator", serial_no=serial(n)) for n in (1, 2)]
    async with house.client() as till:
        lines = (await till.post("/v1/quotes", json=checkout_json(items=items))).json()["lines"]
    assert [line["eligible"] for line in lines] == [True, False]


async def test_another_retailers_claim_looks_like_none(house: House) -> None:
    claim_id = (await house.claim("k1")).json()["claim_id"]
    async with house.client("other") as stranger, house.client() as owner:
        assert (await owner.get(f"/v1/claims/{claim_id}")).status_code == 200
        theirs = await stranger.get(f"/v1/claims/{claim_id}")
        none = await stranger.get("/v1/claims/01990000-0000-7000-8000-000000000000")
    hidden = {"request_id": ""}
    assert theirs.status_code == none.status_code == 404
    assert theirs.json() | hidden == none.json() | hidden


async def test_the_id_number_is_nowhere_in_clear(house: House) -> None:
    number = resident_id(1)
    answer = await house.claim("k1")
    assert number not in answer.text
    dump = [
        str([dict(row) for row in await house.sql(f"SELECT * FROM {table}")])
        for table in ("claim", "claim_line", "quota_use", "journal", "idempotency_key")
    ]
    assert number not in "".join(dump)
    assert (await house.sql("SELECT consumer_last4 FROM claim"))[0][0] == number[-4:]


async def test_without_a_gate_the_ledger_answers_the_same(gateless_house: House) -> None:
    house = gateless_house
    assert (await house.claim("k1")).status_code == 201
    assert (await house.claim("k1")).headers["idempotency-replayed"] == "true"
    taken = await house.claim("k2", consumer=buyer(2))
    assert taken.json()["reasons"][0]["code"] == "serial_already_claimed"
    await house.sql("UPDATE pool SET allocated_fen = spent_fen")
    short = await house.claim("k3", consumer=buyer(3), items=[item_json(serial_no=serial(3))])
    assert short.json()["reasons"][0]["code"] == "budget_exhausted"
    async with house.client() as till:
        ready = (await till.get("/readyz")).json()
    assert (ready["ready"], ready["gate"]) == (True, "down")


async def test_in_refuse_mode_a_missing_gate_is_a_503(gateless_house: House) -> None:
    worker = await gateless_house.open_worker(gate_mode="refuse")
    refused = await gateless_house.claim("k1", app=worker)
    assert (refused.status_code, refused.json()["retryable"]) == (503, True)
    assert "retry-after" in refused.headers
    assert (await gateless_house.footprint_rows()) == 0


async def test_a_claim_on_a_pool_that_does_not_exist_is_refused(gateless_house: House) -> None:
    await gateless_house.sql("DELETE FROM pool WHERE pool = 'appliances'")
    refused = await gateless_house.claim("k1")
    assert refused.json()["reasons"][0]["code"] == "budget_exhausted"
    assert await gateless_house.footprint_rows() == 0


async def test_a_claim_is_refused_for_the_reasons_that_its_quote_shows(house: House) -> None:
    """All of them at once, whether a rule or the ledger is against a line."""
    await house.claim("k1", items=[item_json(category="refrigerator")])
    lines = [
        item_json(line_no=1, category="refrigerator", serial_no=serial(2)),  # the quota is used
        item_json(line_no=2, serial_no=serial(1)),  # the serial is taken
        item_json(line_no=3, serial_no=serial(3), energy_grade="3"),
        item_json(line_no=4, serial_no=serial(4)),
    ]
    for wanted in ([0, 1, 2, 3], [1, 3], [2, 3], [0, 2]):
        body = checkout_json(items=[lines[n] for n in wanted])
        async with house.client() as till:
            quoted = (await till.post("/v1/quotes", json=body)).json()
        refused = await house.claim("k2", items=body["items"])
        shown = [reason for line in quoted["lines"] for reason in line["reasons"]]
        told = refused.json()["reasons"]
        assert [(r["line_no"], r["code"]) for r in shown] == [
            (r["line_no"], r["code"]) for r in told
        ]
        assert {r["line_no"] for r in told} == {n + 1 for n in wanted if n != 3}
