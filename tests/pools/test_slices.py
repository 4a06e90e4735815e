"""A pool with slices has the same ceiling, the same books and the same gate as one without."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis as sync_redis

from service.claims.ledger.commit import Commit
from service.claims.outcomes import GateAway
from service.db.engine import LedgerAway
from service.embedded import Engines
from service.pools import slices
from tests.audit.command import audit
from tests.builders import item_json, resident_id, serial
from tests.conftest import House, open_house

pytestmark = pytest.mark.anyio

SUBSIDY_FEN = 119_980
SLICES = 4

# What set_aside.sql does, in two halves.
SET_ASIDE_FOR_SLICE = """
UPDATE pool_part SET escrow_fen = escrow_fen + $2 WHERE pool = 'appliances' AND part = $1
"""
SET_ASIDE_FROM_POOL = "UPDATE pool SET escrow_fen = escrow_fen + $1 WHERE pool = 'appliances'"


@pytest.fixture(params=["with_gate", "ledger_alone"])
async def sliced(
    request: pytest.FixtureRequest,
    database_url: str,
    engine_urls: Engines,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[House]:
    """A house whose pools have slices, also when little is left."""
    monkeypatch.setattr(slices, "SHARE_MIN_FEN", SUBSIDY_FEN)
    redis_url = engine_urls.redis_url if request.param == "with_gate" else "redis://127.0.0.1:1/0"
    async with open_house(database_url, redis_url, tmp_path, pool_parts=SLICES) as house:
        await set_aside(house)
        yield house


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """From now on, whether each statement that commits claims was kept or failed."""
    ended = []
    once = Commit._try

    async def noted(self: Commit, *args: Any, **how: Any) -> bool:
        ended.append(await once(self, *args, **how))
        return ended[-1]

    monkeypatch.setattr(Commit, "_try", noted)
    return ended


async def set_aside(house: House) -> None:
    await slices.set_aside(house.service.engine, "330402", SLICES)


async def with_money_for(house: House, claims: int) -> None:
    """Leave the appliances so much, half of it in the slices."""
    async with house.client("admin") as client:
        left = (await client.get("/v1/budgets/appliances")).json()["remaining_fen"]
        answer = await client.post(
            "/v1/budgets/appliances/adjustments",
            json={"delta_fen": claims * SUBSIDY_FEN - left, "reason": "less", "document_no": "D"},
            headers={"Idempotency-Key": f"less-{random.random()}"},
        )
    assert answer.status_code == 201, answer.text
    await set_aside(house)
    await asyncio.sleep(1.2)  # the gate is told of a changed budget within half a second


async def in_five_pieces(house: House) -> None:
    """One claim's money, a fifth of it in each row of the appliances."""
    await with_money_for(house, 1)
    await house.sql("UPDATE pool_part SET escrow_fen = spent_fen + $1", SUBSIDY_FEN // 5)
    await house.sql(
        "UPDATE pool SET escrow_fen = (SELECT sum(escrow_fen) FROM pool_part AS p"
        " WHERE p.pool = pool.pool)"
    )


async def somebody_waits(house: House) -> None:
    """Return when a statement waits for a lock."""
    while not (await house.sql("SELECT count(*) FROM pg_locks WHERE NOT granted"))[0][0]:
        await asyncio.sleep(0.01)


async def sell(house: House, n: int, app: Any = None, **overrides: Any) -> httpx.Response:
    person = {"id_type": "resident_id", "id_number": resident_id(n)}
    items = [item_json(serial_no=serial(n))]
    return await house.claim(f"k{n}", app=app, consumer=person, items=items, **overrides)


async def refund(house: House, claim_id: str) -> int:
    async with house.client() as client:
        answer = await client.post(
            f"/v1/claims/{claim_id}/refunds",
            json={"lines": [1], "reason": "returned"},
            headers={"Idempotency-Key": f"refund-{claim_id}"},
        )
    return answer.status_code


async def assert_books_tie(house: House) -> None:
    """By the audit: pools, slices, journal, holds, and the gate if there is one."""
    await house.quiet()
    with suppress(GateAway):
        await house.service.claims.sweeper.run_once()
    done = await audit(house)
    without_gate = "Redis does not answer" in done.output
    assert done.output.count("holds") == 7 - without_gate, done.output


async def in_slices(house: House) -> tuple[int, int]:
    """(claims paid by slices, money that the slices have left), of the appliances."""
    row = await house.sql(
        "SELECT sum(spent_fen), sum(escrow_fen - spent_fen) FROM pool_part"
        " WHERE pool = 'appliances'"
    )
    return int(row[0][0]) // SUBSIDY_FEN, int(row[0][1])


async def test_all_of_it_is_spent_and_not_a_fen_more(sliced: House) -> None:
    await with_money_for(sliced, 50)
    assert (await in_slices(sliced))[1] == 50 * SUBSIDY_FEN // (2 * SLICES) * SLICES
    workers = [sliced.app, await sliced.open_worker()]
    answers = [await sell(sliced, n, workers[n % 2]) for n in range(10)]
    assert (await in_slices(sliced))[0] > 0
    answers += await asyncio.gather(*(sell(sliced, n, workers[n % 2]) for n in range(10, 80)))
    assert sum(answer.status_code == 201 for answer in answers) == 50
    refused = [answer for answer in answers if answer.status_code != 201]
    assert {answer.json()["reasons"][0]["code"] for answer in refused} == {"budget_exhausted"}
    async with sliced.client("bureau") as client:
        budget = (await client.get("/v1/budgets/appliances")).json()
    assert budget["remaining_fen"] == 0
    await assert_books_tie(sliced)


async def test_a_claim_that_no_row_can_pay_alone_is_paid(
    sweeper_at_rest: None, sliced: House, database_url: str, tries: list[bool]
) -> None:
    """Five rows have a fifth of the money each. One claim takes it all. It waits for a slice whose
    money grows at the same time."""
    await in_five_pieces(sliced)
    blocker = await asyncpg.connect(database_url)
    async with blocker.transaction():
        await blocker.execute(SET_ASIDE_FOR_SLICE, 3, 100)
        selling = asyncio.create_task(sell(sliced, 1))
        await somebody_waits(sliced)
        await blocker.execute(SET_ASIDE_FROM_POOL, 100)
    await blocker.close()
    assert (await selling).status_code == 201
    assert tries == [False, True]  # the pool's own row is short; then with the money of the slices
    assert await in_slices(sliced) == (0, 0)
    await assert_books_tie(sliced)


async def test_money_that_is_recalled_while_a_claim_waits_is_spent_at_once(
    sweeper_at_rest: None, sliced: House, database_url: str, tries: list[bool]
) -> None:
    await in_five_pieces(sliced)
    blocker = await asyncpg.connect(database_url)
    async with blocker.transaction():
        await blocker.execute("UPDATE pool_part SET escrow_fen = spent_fen")
        await blocker.execute("UPDATE pool SET escrow_fen = 0")
        selling = asyncio.create_task(sell(sliced, 1))
        await somebody_waits(sliced)
    await blocker.close()
    assert (await selling).status_code == 201
    assert tries == [True]
    await assert_books_tie(sliced)


async def test_a_slice_that_comes_free_while_a_claim_waits_takes_nothing_from_the_books(
    sweeper_at_rest: None, sliced: House, database_url: str
) -> None:
    """A claim that waits for the pool's own row is paid by it, also when that row changes and a
    slice becomes free meanwhile."""
    await with_money_for(sliced, 40)
    blocker, other = [await asyncpg.connect(database_url) for _ in range(2)]
    await blocker.execute("BEGIN; SELECT 1 FROM pool_part FOR UPDATE")
    async with other.transaction():
        await other.execute("UPDATE pool SET version = version + 1")
        selling = asyncio.create_task(sell(sliced, 1))
        await somebody_waits(sliced)
        await blocker.execute("ROLLBACK")
    for connection in (blocker, other):
        await connection.close()
    assert (await selling).status_code == 201
    assert (await in_slices(sliced))[0] == 0
    await assert_books_tie(sliced)


async def test_money_from_a_slice_comes_back_and_is_spent_again(
    sweeper_at_rest: None, sliced: House
) -> None:
    await with_money_for(sliced, 8)
    sold = [await sell(sliced, n) for n in range(4)]
    assert (await in_slices(sliced))[0] == 4
    held = await sell(sliced, 4, hold=True)
    for answer in sold:
        assert await refund(sliced, answer.json()["claim_id"]) == 201
    async with sliced.client() as client:
        ended = await client.post(f"/v1/claims/{held.json()['claim_id']}/cancel")
        assert ended.status_code == 200
        await assert_books_tie(sliced)
        again = [await sell(sliced, n) for n in range(10, 19)]
    assert [answer.status_code for answer in again] == [201] * 8 + [409]
    await assert_books_tie(sliced)


async def test_a_budget_can_be_lowered_to_what_is_spent_and_no_further(
    sweeper_at_rest: None, sliced: House
) -> None:
    await with_money_for(sliced, 8)
    assert (await sell(sliced, 1)).status_code == 201
    async with sliced.client("admin") as client:

        async def lower(fen: int) -> httpx.Response:
            return await client.post(
                "/v1/budgets/appliances/adjustments",
                json={"delta_fen": -fen, "reason": "less", "document_no": "D"},
                headers={"Idempotency-Key": f"less-{fen}"},
            )

        too_much = await lower(7 * SUBSIDY_FEN + 1)
        assert (too_much.status_code, too_much.json()["code"]) == (409, "budget_below_spent")
        assert (await lower(7 * SUBSIDY_FEN)).status_code == 201
    assert (await sell(sliced, 2)).json()["reasons"][0]["code"] == "budget_exhausted"
    await assert_books_tie(sliced)


async def test_a_budget_can_be_lowered_while_money_is_set_aside(
    sweeper_at_rest: None, sliced: House, database_url: str
) -> None:
    await in_five_pieces(sliced)
    blocker = await asyncpg.connect(database_url)
    async with sliced.client("admin") as client, blocker.transaction():
        await blocker.execute(SET_ASIDE_FOR_SLICE, 3, 100)
        lowering = asyncio.create_task(
            client.post(
                "/v1/budgets/appliances/adjustments",
                json={"delta_fen": -SUBSIDY_FEN, "reason": "less", "document_no": "D"},
                headers={"Idempotency-Key": "less"},
            )
        )
        await somebody_waits(sliced)
        await blocker.execute(SET_ASIDE_FROM_POOL, 100)
    await blocker.close()
    assert (await lowering).status_code == 201
    await assert_books_tie(sliced)


async def test_a_row_that_somebody_holds_keeps_no_claim_waiting(
    sweeper_at_rest: None, sliced: House, database_url: str
) -> None:
    await with_money_for(sliced, 40)
    blocker = await asyncpg.connect(database_url)
    async with blocker.transaction():
        await blocker.execute("SELECT 1 FROM pool FOR UPDATE")
        await blocker.execute("SELECT 1 FROM pool_part WHERE part <> 3 FOR UPDATE")
        assert (await sell(sliced, 1)).status_code == 201
    await blocker.close()
    spent = await sliced.sql("SELECT part FROM pool_part WHERE spent_fen > 0")
    assert [row[0] for row in spent] == [3]


async def test_setting_aside_waits_for_nobody_and_leaves_half(
    sweeper_at_rest: None, sliced: House, database_url: str
) -> None:
    await with_money_for(sliced, 40)
    blocker = await asyncpg.connect(database_url)
    await set_aside(sliced)
    assert (await in_slices(sliced))[1] == 20 * SUBSIDY_FEN
    for n in range(4):
        await sell(sliced, n)
    async with blocker.transaction():
        await blocker.execute("UPDATE pool_part SET version = version + 1 WHERE part = 1")
        await set_aside(sliced)
    await blocker.close()
    rows = await sliced.sql(
        "SELECT escrow_fen - spent_fen FROM pool_part WHERE pool = 'appliances' ORDER BY part"
    )
    assert rows[0][0] < 18 * SUBSIDY_FEN // SLICES <= min(row[0] for row in rows[1:])
    await assert_books_tie(sliced)


async def test_sales_refunds_and_budgets_all_at_once_tie(sliced: House) -> None:
    """Two workers sell and take back while money is set aside, recalled, added and taken away."""
    dice = random.Random(5)
    await with_money_for(sliced, 60)
    workers = [sliced.app, await sliced.open_worker()]
    ending = asyncio.Event()

    async def till(first: int) -> None:
        for n in range(first, first + 12):
            answer = await sell(sliced, n, workers[n % 2], hold=dice.random() < 0.2)
            assert answer.status_code in (201, 409), answer.text
            if answer.status_code == 201 and dice.random() < 0.4:
                assert await refund(sliced, answer.json()["claim_id"]) in (201, 409)

    async def bureau() -> None:
        async with sliced.client("admin") as client:
            for n in range(10**6):
                if ending.is_set():
                    return
                delta = (1 if n % 2 else -1) * dice.randrange(1, 20 * SUBSIDY_FEN)
                answer = await client.post(
                    "/v1/budgets/appliances/adjustments",
                    json={"delta_fen": delta, "reason": "more or less", "document_no": "D"},
                    headers={"Idempotency-Key": f"change-{n}"},
                )
                assert answer.status_code in (201, 409), answer.text
                await set_aside(sliced)

    changing = asyncio.create_task(bureau())
    await asyncio.gather(*(till(100 * n) for n in range(12)))
    ending.set()
    await changing
    await assert_books_tie(sliced)


@pytest.mark.parametrize("sliced", ["with_gate"], indirect=True)
class TestGate:
    """The gate tracks a version for each row."""

    async def test_views_may_come_in_any_order_and_again(
        self, sweeper_at_rest: None, sliced: House
    ) -> None:
        views = await sliced.service.claims.ledger.pools()
        for n in range(6):
            await sell(sliced, n)
            views += await sliced.service.claims.ledger.pools()
        await sliced.quiet()
        left = sliced.gate_left()
        gate = sync_redis.from_url(str(sliced.settings.redis_url))
        for seed in range(20):
            gate.delete("butie:{330402}:pool:appliances")
            random.Random(seed).shuffle(views)
            await sliced.service.claims.gate.settle(views)
            assert sliced.gate_left() == left

    async def test_slices_that_a_restored_ledger_does_not_have_are_dropped(
        self, sweeper_at_rest: None, sliced: House
    ) -> None:
        before = sliced.gate_left()
        assert (await sell(sliced, 1)).status_code == 201
        await sliced.quiet()
        assert sliced.gate_left() == before - SUBSIDY_FEN
        await sliced.sql("UPDATE pool SET escrow_fen = 0")
        await sliced.sql("DELETE FROM pool_part")  # as a backup of before them has it
        await sliced.service.claims.sweeper._heal()
        assert sliced.gate_left() == before

    async def test_a_pool_that_somebody_holds_keeps_nothing_from_the_gate(
        self, sweeper_at_rest: None, sliced: House, database_url: str, hurried: None
    ) -> None:
        await sliced.sql("UPDATE pool_part SET escrow_fen = spent_fen")  # its own row has all
        await sliced.sql("UPDATE pool SET escrow_fen = 0")
        left = sliced.gate_left()
        blocker = await asyncpg.connect(database_url)
        async with blocker.transaction():
            await blocker.execute("SELECT 1 FROM pool FOR UPDATE")
            sync_redis.from_url(str(sliced.settings.redis_url)).flushall()
            with pytest.raises(LedgerAway):
                await sliced.service.claims.sweeper.run_once()
            assert sliced.gate_left() == left
        await blocker.close()
