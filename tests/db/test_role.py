"""The service's own role can do all of its work, and cannot rewrite the books."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from service.db.role import APPEND_ONLY, MAY_DELETE, READ_ONLY, grant_to_service
from service.db.tables import metadata
from service.embedded import Engines
from service.pools import slices
from tests.audit.command import audit
from tests.builders import item_json, serial
from tests.conftest import House, open_house
from tests.finance.books import PERIOD, close, invoiced

pytestmark = pytest.mark.anyio

# `butie pii` and `butie migrate` run as the tables' owner.
OWNER_FILES = {"role.py", "rotation.py", "rotate.sql", "drop_former_digests.sql"}
assert all(any(Path("service").rglob(name)) for name in OWNER_FILES)
SOURCES = [
    path.read_text()
    for path in Path("service").rglob("*.*")
    if path.suffix in (".py", ".sql") and path.name not in OWNER_FILES
]


@pytest.fixture
async def service_url(database_url: str) -> AsyncIterator[str]:
    """The URL of the test's database for a new role of the service."""
    role = f"service_{os.urandom(6).hex()}"
    owner = await asyncpg.connect(database_url)
    await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'service'")
    await grant_to_service(database_url, role)
    yield f"postgresql://{role}:service@{database_url.rsplit('@', 1)[1]}"
    await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await owner.close()


@pytest.fixture
async def limited_house(
    service_url: str, engine_urls: Engines, tmp_path: Path
) -> AsyncIterator[House]:
    async with open_house(service_url, engine_urls.redis_url, tmp_path) as opened:
        yield opened


async def test_the_role_sells_holds_refunds_closes_and_exports(limited_house: House) -> None:
    house = limited_house
    sold = await house.claim("k1")
    held = await house.claim("k2", hold=True, items=[item_json(serial_no=serial(2))])
    assert (sold.status_code, held.status_code) == (201, 201), sold.text + held.text
    claim = f"/v1/claims/{sold.json()['claim_id']}"
    async with house.client() as till:
        cancelled = await till.post(f"/v1/claims/{held.json()['claim_id']}/cancel")
        refunded = await till.post(
            f"{claim}/refunds",
            json={"lines": [1], "reason": "returned"},
            headers={"Idempotency-Key": "r1"},
        )
    assert (cancelled.status_code, refunded.status_code) == (200, 201), refunded.text
    assert await close(house)
    async with house.client("finance") as finance:
        export = await finance.get(
            "/v1/exports/journal", params={"from": "2025-06-01", "to": "2025-06-30"}
        )
    assert export.status_code == 200
    assert export.text.count(sold.json()["claim_id"]) == 2
    for _ in range(2):  # the second time by what the first one proved
        audited = await audit(house)
        assert audited.exit_code == 0, audited.output
    await _settles_and_voids(house)
    await house.service.claims.sweeper.run_once()


async def _settles_and_voids(house: House) -> None:
    await invoiced(house, 1, start=9)
    async with house.client("finance") as finance:
        draft = await finance.post("/v1/settlements", json={"retailer_id": "sandbox", **PERIOD})
        assert draft.status_code == 201, draft.text
        path = f"/v1/settlements/{draft.json()['settlement_id']}/void"
        voided = await finance.post(path, json={"reason": "wrong period"})
    assert voided.status_code == 200, voided.text


async def test_the_role_spends_through_slices_of_a_pool(
    service_url: str, engine_urls: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SHARE_MIN_FEN", 1)
    async with open_house(service_url, engine_urls.redis_url, tmp_path, pool_parts=4) as house:
        assert (await house.claim("k1")).status_code == 201
        assert await house.sql("SELECT 1 FROM pool_part WHERE spent_fen > 0")
        async with house.client("admin") as admin:
            less = await admin.post(
                "/v1/budgets/appliances/adjustments",
                json={"delta_fen": -1, "reason": "less", "document_no": "D"},
                headers={"Idempotency-Key": "less"},
            )
        assert less.status_code == 201, less.text
        await house.service.claims.sweeper.run_once()


@pytest.mark.parametrize(
    "act",
    [
        "UPDATE journal SET amount_fen = 1",
        "DELETE FROM journal",
        "TRUNCATE journal",
        "ALTER TABLE journal DISABLE TRIGGER ALL",
        "DROP TRIGGER journal_append_only ON journal",
        "SET session_replication_role = replica",
        "UPDATE journal_day SET digest = ''",
        "UPDATE admin_act SET actor = 'somebody'",
        "DELETE FROM claim",
        "INSERT INTO audit_mark (jurisdiction, relation) VALUES ('330402', 'claim')",
        "SELECT audit_marks_everything('claim')",
        "UPDATE settled_entry SET amount_fen = 1",
        "DELETE FROM voided_settlement",
        "DROP TABLE journal",
        "CREATE TABLE mine (a int)",
        "UPDATE alembic_version SET version_num = '0001'",
        "ALTER TABLE pool DROP CONSTRAINT pool_not_overspent",
    ],
)
async def test_the_role_cannot_rewrite_the_books(service_url: str, act: str) -> None:
    connection = await asyncpg.connect(service_url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(act)
    await connection.close()


def touched(verb: str) -> set[str]:
    """The tables that a statement of the service does this to."""
    written = {name for text in SOURCES for name in re.findall(rf"\b{verb} ([a-z_]+)", text)}
    built = {
        name
        for text in SOURCES
        for name in re.findall(rf"\bsa\.{verb.split()[0].lower()}\((\w+)\)", text)
    }
    return (written | built) & set(metadata.tables)


def test_what_is_granted_is_what_the_statements_do() -> None:
    """A table with a new UPDATE or DELETE must be named in service/db/role.py. Otherwise the
    statement would fail in production only."""
    assert touched("DELETE FROM") <= MAY_DELETE
    assert not touched("UPDATE") & (APPEND_ONLY | READ_ONLY)
    assert set(metadata.tables) >= (APPEND_ONLY | MAY_DELETE)
