"""The operator enrols, suspends, and rotates keys; every act is on record."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest

from service.retailers import directory
from tests.builders import item_json, serial, uscc
from tests.conftest import House

pytestmark = pytest.mark.anyio

USCC = uscc(1)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cached callers and stores are read again almost at once."""
    monkeypatch.setattr(directory, "REMEMBER_S", 0.05)


async def call(
    house: House, method: str, path: str, json: Any = None, role: str = "admin", **options: Any
) -> httpx.Response:
    async with house.client(role) as client:
        return await client.request(method, path, json=json, **options)


async def enrol(house: House, retailer_id: str = "r1") -> httpx.Response:
    body = {"retailer_id": retailer_id, "uscc": USCC, "name": "新商贸"}
    return await call(house, "POST", "/v1/retailers", body)


async def add_store(house: House, store_id: str, retailer_id: str = "r1") -> httpx.Response:
    body = {"store_id": store_id, "retailer_id": retailer_id, "name": "店"}
    return await call(house, "POST", "/v1/stores", body)


async def make_key(house: House, retailer_id: str = "r1") -> dict[str, str]:
    body = {"role": "pos", "retailer_id": retailer_id, "label": "till 1"}
    answer = await call(house, "POST", "/v1/keys", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def acts(house: House) -> list[tuple[str, str]]:
    answer = await call(house, "GET", "/v1/acts")
    return [(act["act"], act["subject_id"]) for act in answer.json()["acts"]]


async def test_a_retailer_is_enrolled_and_claims(house: House) -> None:
    assert (await enrol(house)).status_code == 201
    assert (await add_store(house, "S1")).status_code == 201
    key = await make_key(house)
    house.keys["new"] = key["secret"]
    assert (await house.claim("k1", role="new", store_id="S1")).status_code == 201
    newest = (await acts(house))[:3]
    assert newest == [
        ("key.create", key["key_id"]),
        ("store.add", "S1"),
        ("retailer.add", "r1"),
    ]


async def test_acts_say_who_and_what_and_never_a_secret(house: House) -> None:
    await enrol(house)
    key = await make_key(house)
    answer = await call(house, "GET", "/v1/acts")
    assert key["secret"] not in answer.text
    act = answer.json()["acts"][0]
    listed = (await call(house, "GET", "/v1/keys?limit=500")).json()["keys"]
    assert act["actor"] in {key["key_id"] for key in listed if key["label"] == "sandbox admin"}
    assert act["after"] == {"label": "till 1", "scopes": ["claims"], "retailer_id": "r1"}
    assert key["secret"] not in (await call(house, "GET", "/v1/keys")).text


@pytest.mark.parametrize(
    "change", ["UPDATE admin_act SET actor = 'x'", "DELETE FROM admin_act", "TRUNCATE admin_act"]
)
async def test_the_record_cannot_be_rewritten(house: House, change: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await house.sql(change)


async def test_what_is_enrolled_already_is_a_conflict(house: House) -> None:
    await enrol(house)
    before = await acts(house)
    for again in (await enrol(house), await enrol(house, "r2")):
        assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    await add_store(house, "S1")
    assert (await add_store(house, "S1")).status_code == 409
    assert len(await acts(house)) == len(before) + 1


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("retailers", {"retailer_id": "r 1", "uscc": USCC, "name": "x"}, "retailer_id"),
        ("retailers", {"retailer_id": "r1", "uscc": "91330402MA0000000A", "name": "x"}, "uscc"),
        ("retailers", {"retailer_id": "r1", "uscc": "一" * 18, "name": "x"}, "uscc"),
        ("retailers", {"retailer_id": "r1", "uscc": "91330402MA0000000Q"}, "name"),
        ("stores", {"store_id": "S1", "retailer_id": "nobody", "name": "x"}, "retailer_id"),
        ("stores", {"store_id": "S1", "retailer_id": "other", "name": "a\u0000"}, "name"),
        ("keys", {"role": "pos", "label": "x"}, "retailer_id"),
        ("keys", {"role": "admin", "label": "x", "retailer_id": "other"}, "retailer_id"),
        ("keys", {"role": "pos", "label": "x", "retailer_id": "nobody"}, "retailer_id"),
        ("keys", {"role": "root", "label": "x"}, "role"),
        ("stores/NH0001/suspend", {}, "reason"),
    ],
)
async def test_a_refusal_of_bad_input_names_the_field(
    house: House, path: str, body: dict[str, Any], field: str
) -> None:
    before = await acts(house)
    answer = await call(house, "POST", f"/v1/{path}", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), answer.text
    assert answer.json()["fields"][0]["field"] == field
    assert await acts(house) == before


@pytest.mark.parametrize(
    ("subject", "variant"),
    [("stores/NH0001", "门店的补贴资格已暂停"), ("retailers/sandbox", "本企业的补贴资格已暂停")],
)
async def test_the_suspended_are_refused_by_every_worker(
    house: House, subject: str, variant: str
) -> None:
    other = await house.open_worker()
    for n, app in enumerate((house.app, other)):
        claim = await house.claim(f"a{n}", app=app, items=[item_json(serial_no=serial(n))])
        assert claim.status_code == 201
    for _ in range(2):
        answer = await call(house, "POST", f"/v1/{subject}/suspend", {"reason": "fraud"})
        assert (answer.status_code, answer.json()["state"]) == (200, "suspended")
    await asyncio.sleep(0.1)
    for n, app in enumerate((house.app, other)):
        refused = await house.claim(f"b{n}", app=app, items=[item_json(serial_no="B")])
        assert refused.json()["reasons"][0]["code"] == "store_not_enrolled"
        assert variant in refused.json()["reasons"][0]["detail"]
    await call(house, "POST", f"/v1/{subject}/resume", {"reason": "cleared"})
    await asyncio.sleep(0.1)
    assert (await house.claim("c", items=[item_json(serial_no="B")])).status_code == 201
    kinds = [act for act, _ in await acts(house)][:2]
    assert [kind.split(".")[1] for kind in kinds] == ["resume", "suspend"]


async def test_a_rotated_key_overlaps_and_a_revoked_one_ends(house: House) -> None:
    await enrol(house)
    await add_store(house, "S1")
    old = await make_key(house)
    answer = await call(house, "POST", f"/v1/keys/{old['key_id']}/rotate", {"overlap_hours": 1})
    new = answer.json()
    house.keys |= {"old": old["secret"], "new": new["secret"]}
    for n, role in enumerate(("old", "new")):
        claim = await house.claim(
            f"k{n}", role=role, store_id="S1", items=[item_json(serial_no=serial(n))]
        )
        assert claim.status_code == 201
    answer = await call(house, "POST", f"/v1/keys/{old['key_id']}/rotate", {"overlap_hours": 0})
    for _ in range(2):
        path = f"/v1/keys/{new['key_id']}/revoke"
        assert (await call(house, "POST", path, {"reason": "lost"})).status_code == 200
    await asyncio.sleep(0.1)
    for role in ("old", "new"):
        assert (await house.claim("k9", role=role, store_id="S1")).status_code == 401
    again = await call(house, "POST", f"/v1/keys/{new['key_id']}/rotate", {})
    assert (again.status_code, again.json()["code"]) == (409, "key_ended")


async def test_a_keys_last_use_is_noted(house: House) -> None:
    await house.claim("k1")
    used = await house.sql("SELECT last_used_at FROM api_key WHERE label = 'sandbox pos'")
    assert used[0][0] is None
    await house.service.callers.directory.last_used.write()
    used = await house.sql("SELECT last_used_at FROM api_key WHERE label = 'sandbox pos'")
    assert used[0][0] is not None


async def test_the_list_of_keys_shows_a_use_that_is_not_written_yet(house: House) -> None:
    await house.claim("k1")
    keys = (await call(house, "GET", "/v1/keys")).json()["keys"]
    used = {key["label"] for key in keys if key["last_used_at"]}
    assert used == {"sandbox pos", "sandbox admin"}


async def test_lists_come_in_pages(house: House) -> None:
    await enrol(house)
    for n in range(5):
        await add_store(house, f"S{n}")
    store_ids: list[str] = []
    cursor = ""
    while True:
        path = f"/v1/stores?retailer_id=r1&limit=2{cursor}"
        page = (await call(house, "GET", path)).json()
        store_ids += [store["store_id"] for store in page["stores"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert store_ids == [f"S{n}" for n in range(5)]


@pytest.mark.parametrize("bad", ["nobody", "%00", "%E4%B8%80", "a" * 5000])
async def test_what_is_not_there_is_not_found(house: House, bad: str) -> None:
    for kind in ("retailers", "stores"):
        assert (await call(house, "GET", f"/v1/{kind}/{bad}")).status_code == 404
        path = f"/v1/{kind}/{bad}/suspend"
        assert (await call(house, "POST", path, {"reason": "x"})).status_code == 404
    for path in ("rotate", "revoke"):
        answer = await call(house, "POST", f"/v1/keys/{bad}/{path}", {"reason": "x"})
        assert answer.status_code in (404, 422)
