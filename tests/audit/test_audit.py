"""Each invariant names the breach that is planted, and nothing else."""

import asyncio
from typing import Any

import pytest
import redis as sync_redis
from typer.testing import CliRunner

from service.cli.commands import app
from tests.audit.command import audit
from tests.audit.planted import PLANTED, live
from tests.builders import item_json, resident_id, serial
from tests.conftest import House

pytestmark = pytest.mark.anyio


async def test_books_that_tie_pass(house: House) -> None:
    await live(house)
    answer = await audit(house)
    assert answer.exit_code == 0, answer.output
    assert answer.output.count("holds") == 7
    async with house.client() as client:
        metrics = (await client.get("/metrics")).text
    assert 'butie_audit_breaches{invariant="pools tie"} 0.0' in metrics


@pytest.mark.parametrize("change", PLANTED)
async def test_each_planted_breach_is_named(house: House, change: str) -> None:
    await live(house)
    for constraint in ("quota_not_passed", "quota_not_negative"):
        await house.slow_sql(f"ALTER TABLE quota_use DROP CONSTRAINT {constraint}")
    await house.slow_sql("ALTER TABLE journal DISABLE TRIGGER ALL")
    await house.slow_sql(change)
    answer = await audit(house)
    assert answer.exit_code == 1, answer.output
    broken = [line for line in answer.output.splitlines() if "broken:" in line]
    assert any(PLANTED[change] in line for line in broken), answer.output


async def test_a_gate_that_has_drifted_is_named(house: House) -> None:
    await live(house)
    gate = sync_redis.from_url(str(house.settings.redis_url))
    gate.hincrby("butie:{330402}:pool:cars", "spent", 5)
    answer = await audit(house)
    assert answer.exit_code == 1
    assert "cars: the gate has" in answer.output


async def test_what_cannot_be_checked_is_no_success(house: House) -> None:
    environment: dict[str, Any] = {"BUTIE_DATABASE_URL": str(house.settings.database_url)}
    answer = await asyncio.to_thread(CliRunner().invoke, app, ["audit"], env=environment)
    assert answer.exit_code == 2
    environment["BUTIE_DATABASE_URL"] = "postgresql://x:y@127.0.0.1:1/z"
    answer = await asyncio.to_thread(CliRunner().invoke, app, ["audit"], env=environment)
    assert answer.exit_code == 2


async def test_an_audit_among_claims_finds_nothing_wrong(house: House) -> None:
    """An audit reads one snapshot, so it never sees half of a claim."""
    enough = asyncio.Event()

    async def sell(till: int) -> int:
        n = 0
        while not enough.is_set():
            person = {"id_type": "resident_id", "id_number": resident_id(till * 1000 + n)}
            items = [item_json(serial_no=serial(till * 1000 + n))]
            answer = await house.claim(f"t{till}-{n}", consumer=person, items=items)
            assert answer.status_code == 201, answer.text
            n += 1
        return n

    selling = [asyncio.create_task(sell(till)) for till in range(6)]
    answers = [await audit(house) for _ in range(3)]
    enough.set()
    assert sum(await asyncio.gather(*selling)) > 0
    for answer in answers:
        assert "broken" not in answer.output
        assert answer.exit_code in (0, 2)
