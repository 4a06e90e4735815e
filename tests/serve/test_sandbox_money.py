"""The sandbox's budgets: a pool for each scheme, and money for a new one on the next start."""

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


async def budgets(house: House) -> dict[str, int]:
    rows = await house.sql("SELECT pool, allocated_fen FROM pool")
    return {row["pool"]: row["allocated_fen"] for row in rows}
