"""The sandbox's budgets and keys: a new scheme gets money, a new scope a key, on the next start."""

import json

import pytest

from service import sandbox
from service.core.policy_file import parse_book
from service.policies import SHIPPED
from tests.conftest import NOW, House

pytestmark = pytest.mark.anyio


async def test_a_scheme_that_is_new_gets_its_money_on_the_next_start_and_only_once(
    house: House,
) -> None:
    text = (SHIPPED / "nanhu-2025.yaml").read_text(encoding="utf-8")
    book = parse_book("330402", {"new.yaml": text.replace("  elderly:\n", "  kitchens:\n")})
    before = await budgets(house)
    for _ in range(2):
        await sandbox.enrol(house.service.engine, book, house.folder, NOW)
    assert await budgets(house) == before | {"kitchens": sandbox.OTHER_BUDGET_YUAN * 100}
    assert sum(before.values()) == 4_600_000_000


async def test_a_role_with_a_new_scope_gets_a_key_that_has_it_and_only_once(house: House) -> None:
    await house.sql("UPDATE api_key SET scopes = '{budgets:read}' WHERE label = 'sandbox bureau'")
    known = []
    for _ in range(2):
        await sandbox.enrol(house.service.engine, house.service.book, house.folder, NOW)
        known.append(json.loads((house.folder / "sandbox.json").read_text())["keys"])
    assert known[0] == known[1]
    assert {role for role in known[0] if known[0][role] != house.keys[role]} == {"bureau"}
    house.keys |= known[0]
    async with house.client("bureau") as client:
        assert (await client.get("/v1/claims", params={"order_no": "A"})).status_code == 200


async def budgets(house: House) -> dict[str, int]:
    rows = await house.sql("SELECT pool, allocated_fen FROM pool")
    return {row["pool"]: row["allocated_fen"] for row in rows}
