"""A seventh scheme with a rule of its own: what a new policy file needs, and no more.

Kitchens and bathrooms have a cap by the area of the room. The scheme is in no shipped policy.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from service import sandbox
from service.audit.invariant import Finding
from service.audit.run import audit
from service.core.policy import PolicyBook
from service.core.policy_file import PolicyFileError, parse_book
from service.core.quote import quote
from service.db.engine import driver
from tests.builders import item_json, make_checkout
from tests.conftest import NOW, Engines, House, open_house

SHEET = Path(__file__).parent / "kitchens-2025.yaml"
TEXT = SHEET.read_text(encoding="utf-8")
CASES = yaml.safe_load(TEXT)["cases"]


def policy_text() -> str:
    """The sheet's policy as a file of its own: unindented, without the cases."""
    body = TEXT.partition("policy:\n")[2].partition("\n# ")[0]
    return "\n".join(line[2:] for line in body.splitlines())


def book() -> PolicyBook:
    return parse_book("330402", {"kitchens-2025.yaml": policy_text()})


def kitchen(**overrides: Any) -> dict[str, Any]:
    return item_json(category="kitchen", energy_grade=None, **overrides)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("cap_per_m2_fen: {value: 60000", "cap_per_m2_fen: {value: 99", "less than a fen"),
        (
            "rate_bp: {value: 1500, basis: assumed, note: 测试用}",
            "tiers: [{from_fen: {value: 1000, basis: assumed, note: 测试用},"
            " sum_fen: {value: 100, basis: assumed, note: 测试用}}]",
            "needs a rate",
        ),
    ],
)
def test_a_cap_by_area_that_cannot_work_is_refused(old: str, new: str, fault: str) -> None:
    assert old in policy_text()
    with pytest.raises(PolicyFileError, match=fault):
        parse_book("330402", {"kitchens-2025.yaml": policy_text().replace(old, new)})


def test_a_price_over_the_limit_is_said_before_a_subsidy_of_nothing() -> None:
    text = policy_text().replace(
        "    cap_per_m2_fen",
        "    price_max_fen: {value: 1, basis: assumed, note: 测试用}\n    cap_per_m2_fen",
    )
    tight = parse_book("330402", {"kitchens-2025.yaml": text})
    sale = make_checkout(items=[kitchen(price_fen=5, area_dm2=100)])
    (line,) = quote(tight, sale, now=sale.sold_at).lines
    assert [reason.code for reason in line.reasons] == ["price_over_limit", "price_too_low"]


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_a_kitchen_is_subsidised_up_to_its_area(case: dict[str, Any]) -> None:
    area = {"area_dm2": case["area"]} if "area" in case else {}
    sale = make_checkout(items=[kitchen(price_fen=int(Decimal(case["price"]) * 100), **area)])
    (line,) = quote(book(), sale, now=sale.sold_at).lines
    if "refused" in case:
        assert [reason.code for reason in line.reasons] == [case["refused"]]
        return
    assert line.reasons == ()
    assert (line.cap_fen, line.subsidy_fen) == tuple(
        int(Decimal(case[name]) * 100) for name in ("cap", "subsidy")
    )
    assert line.pool == "kitchens"


@pytest.mark.anyio
async def test_a_kitchen_is_granted_from_its_pool_and_audited_by_its_area(
    database_url: str, engine_urls: Engines, tmp_path: Path
) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "kitchens-2025.yaml").write_text(policy_text(), encoding="utf-8")
    async with open_house(
        database_url, engine_urls.redis_url, tmp_path, policies_dir=policies
    ) as house:
        await sandbox.enrol(house.service.engine, house.service.book, house.folder, NOW)
        await house.service.claims.sweeper.run_once()
        items = [kitchen(price_fen=4_000_000, area_dm2=650)]
        answer = await house.claim("k1", items=items)
        assert (answer.status_code, answer.json()["subsidy_fen"]) == (201, 390_000)
        assert await _facts(house) == ['{"area_dm2": 650}']
        assert (await house.claim("k1", items=items)).headers["Idempotency-Replayed"] == "true"
        other = [kitchen(price_fen=4_000_000, area_dm2=651)]
        assert (await house.claim("k1", items=other)).json()["code"] == "idempotency_key_reused"
        assert await _breaches(house) == []
        await house.sql("""UPDATE claim_line SET facts = '{"area_dm2": 649}'""")
        assert await _breaches(house) == ["amounts right"]


async def _facts(house: House) -> list[str]:
    return [row[0] for row in await house.sql("SELECT facts::text FROM claim_line")]


async def _breaches(house: House) -> list[str]:
    book = house.service.book
    async with driver(house.service.engine) as connection:
        _, results = await audit(connection, book.jurisdiction, book, None, NOW)
    findings = {result.name: result.finding for result in results}
    return [
        name
        for name, finding in findings.items()
        if isinstance(finding, Finding) and finding.breaches
    ]
