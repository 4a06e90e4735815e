"""`butie ledger fold-serials`: claims of release 0.1.0 are found under every spelling, while tills
sell and refund."""

import asyncio
from typing import Any

import asyncpg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from service.claims.ledger import fold_serials
from service.claims.ledger.fold_serials import SerialFolding
from service.cli.commands import app as command_line
from service.db.away import driver_url
from tests.audit.command import audit
from tests.claims.pieces import (
    as_in_0_1_0,
    give_back,
    held,
    refused_as_claimed,
    sell,
)
from tests.conftest import House

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pages, and no long pause between two passes."""
    monkeypatch.setattr(fold_serials, "LINES_MAX", 2)
    monkeypatch.setattr(fold_serials, "SETTLED_S", 0.1)


async def fold(house: House) -> Result:
    environment = {
        "BUTIE_DATABASE_URL": str(house.settings.database_url),
        "BUTIE_REDIS_URL": str(house.settings.redis_url),
    }
    words = ["ledger", "fold-serials"]
    return await asyncio.to_thread(CliRunner().invoke, command_line, words, env=environment)


async def sold_by_0_1_0(house: House, *serials: str) -> list[str]:
    """The ids of claims with these serial numbers, as release 0.1.0 writes them."""
    claims = []
    for n, serial_no in enumerate(serials):
        claim = (await sell(house, n, serial_no)).json()
        await as_in_0_1_0(house, claim["claim_id"])
        claims.append(claim["claim_id"])
    return claims


async def test_former_claims_are_found_under_every_spelling(house: House) -> None:
    await sold_by_0_1_0(house, "A-1", "B-2", "C3", "D-4", "e-5")
    assert await held(house) == ["A-1", "B-2", "C3", "D-4", "E-5"]
    folded = await fold(house)
    assert folded.exit_code == 0, folded.output
    assert folded.output == "4 folded serial numbers were added or removed.\n"
    assert await held(house) == sorted(["A-1", "A1", "B-2", "B2", "C3", "D-4", "D4", "E-5", "E5"])
    for n, other in enumerate(["A1", "b 2", "c-3", "D-4", "e5"], start=10):
        assert refused_as_claimed(await sell(house, n, other))
    await house.quiet()
    assert (await audit(house)).exit_code == 0
    assert (await fold(house)).output == "0 folded serial numbers were added or removed.\n"


async def test_a_folded_claim_gives_back_all_of_its_spellings(house: House) -> None:
    (claim_id,) = await sold_by_0_1_0(house, "A-1")
    await fold(house)
    assert (await give_back(house, claim_id)).status_code == 201
    assert await held(house) == []
    assert (await sell(house, 9, "A1")).status_code == 201


async def test_refunded_claims_stay_free(house: House) -> None:
    claims = await sold_by_0_1_0(house, "A-1", "B-2")
    await give_back(house, claims[0])
    await fold(house)
    assert await held(house) == ["B-2", "B2"]


async def test_a_clash_is_listed_and_nothing_is_lost(house: House) -> None:
    # Three claims of one piece, as 0.1.0 lets them pass, and others.
    claims = []
    for n, serial_no in enumerate(["SN-1", "S-N1", "SN1", "B-2", "C-3"]):
        claim = (await sell(house, n, serial_no)).json()["claim_id"]
        claims.append(claim)
        await as_in_0_1_0(house, claim)
    before = await held(house)
    folded = await fold(house)
    assert folded.exit_code == 1
    for typed, claim_id in zip(["SN-1", "S-N1"], claims[:2], strict=True):
        assert (
            f"SN1: claim {claims[2]} line 1 (SN1), and claim {claim_id} line 1 ({typed})\n"
            in folded.output
        )
    assert "2 clashes." in folded.output
    assert set(await held(house)) == {*before, "B2", "C3"}
    states = await house.sql("SELECT DISTINCT state FROM claim_line")
    assert [row["state"] for row in states] == ["confirmed"]
    assert refused_as_claimed(await sell(house, 9, "sn 1"))
    await house.quiet()
    assert (await audit(house)).exit_code == 0


async def test_a_clash_among_folded_claims_alone_is_listed_once_and_ends(house: House) -> None:
    first, second = await sold_by_0_1_0(house, "SN-1", "S-N1")
    folded = await fold(house)
    assert folded.exit_code == 1
    listed = f"SN1: claim {first} line 1 (SN-1), and claim {second} line 1 (S-N1)\n"
    assert folded.output.count("SN1: ") == 1 and listed in folded.output
    # The first holds the folded spelling. When it is refunded, the next run gives it to the other.
    await give_back(house, first)
    assert await held(house) == ["S-N1"]
    again = await fold(house)
    assert (again.exit_code, await held(house)) == (0, ["S-N1", "SN1"])


async def test_a_refund_that_waited_for_the_command_leaves_nothing(house: House) -> None:
    (claim_id,) = await sold_by_0_1_0(house, "A-1")
    connection = await asyncpg.connect(driver_url(str(house.settings.database_url)))
    # What the command does in one transaction; it is held open until the refund waits for it.
    transaction = connection.transaction()
    await transaction.start()
    folding = SerialFolding(connection, "330402")
    async for _ in folding._pass():
        pass
    refunding = asyncio.create_task(give_back(house, claim_id))
    while not await house.sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.02)
    await transaction.commit()
    await connection.close()
    assert (await refunding).status_code == 201
    assert await held(house) == ["A1"]
    assert (await fold(house)).output == "1 folded serial numbers were added or removed.\n"
    assert await held(house) == []
    await house.quiet()
    assert (await audit(house)).exit_code == 0


async def test_tills_sell_and_refund_while_serials_are_folded(house: House) -> None:
    claims = await sold_by_0_1_0(house, *(f"A-{n}" for n in range(20)))

    async def till(n: int) -> list[Any]:
        refunded = await give_back(house, claims[n])
        again = await sell(house, 100 + n, f"A{n}")
        return [refunded.status_code, again.status_code]

    folded, *ends = await asyncio.gather(fold(house), *(till(n) for n in range(0, 20, 2)))
    assert all(refunded == 201 for refunded, _ in ends)
    # A till may find the folded spelling still held by the refunded claim, until the next pass.
    assert {again for _, again in ends} <= {201, 409}
    assert folded.exit_code == 0, folded.output
    assert (await fold(house)).exit_code == 0
    await house.quiet()
    assert (await audit(house)).exit_code == 0
    expected = {f"A-{n}" for n in range(1, 20, 2)} | {f"A{n}" for n in range(1, 20, 2)}
    expected |= {f"A{2 * n}" for n, (_, again) in enumerate(ends) if again == 201}
    assert set(await held(house)) == expected


async def test_an_interrupted_run_is_taken_up_again(house: House) -> None:
    await sold_by_0_1_0(house, *(f"A-{n}" for n in range(5)))
    connection = await asyncpg.connect(driver_url(str(house.settings.database_url)))
    async for lines in SerialFolding(connection, "330402").run():
        assert lines == 2
        break
    await connection.close()
    assert len(await held(house)) == 7
    assert (await fold(house)).output == "3 folded serial numbers were added or removed.\n"
    assert len(await held(house)) == 10


async def test_another_jurisdictions_claims_are_left_alone(house: House) -> None:
    await sold_by_0_1_0(house, "A-1")
    await house.sql("UPDATE claim SET jurisdiction = '330499'")
    await house.sql("UPDATE serial_claimed SET jurisdiction = '330499'")
    assert (await fold(house)).output == "0 folded serial numbers were added or removed.\n"
    assert await held(house) == ["A-1"]
