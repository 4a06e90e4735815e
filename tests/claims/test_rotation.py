"""A new personal-data key while tills sell: nobody gets more than a quota, nothing is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from click.testing import Result
from pydantic import SecretStr
from typer.testing import CliRunner

from service.claims.people import rotation
from service.claims.people.digests import Digester, generation_of
from service.cli.commands import app as command_line
from service.config import SANDBOX_PII_KEY, Misconfigured
from tests.builders import item_json, make_checkout, resident_id, serial
from tests.conftest import House

pytestmark = pytest.mark.anyio

NEW_KEY = "the-second-key-of-these-tests-0123456789"
# Air conditioners of one person in a year.
QUOTA = 3

ROTATING = {
    "pii_key": SecretStr(NEW_KEY),
    "pii_keys_former": SecretStr(SANDBOX_PII_KEY),
    "pii_rotating": True,
}
ROTATED = {**ROTATING, "pii_rotating": False}


async def definite(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """As a till does: a 503 of a busy machine is asked again."""
    while (answer := await ask()).status_code == 503:
        await asyncio.sleep(0.1)
    return answer


async def sell(house: House, n: int, person: int, worker: Any = None) -> httpx.Response:
    """Sale n, of an air conditioner."""
    return await definite(
        lambda: house.claim(
            f"k{n}",
            app=worker,
            order_no=f"o{n}",
            consumer={"id_type": "resident_id", "id_number": resident_id(person)},
            items=[item_json(serial_no=serial(n))],
        )
    )


async def race(house: House, first: int, person: int, *workers: Any) -> list[int]:
    """One person at many tills of these workers at once; how each was answered."""
    sales = [
        sell(house, first + n, person, workers[n % len(workers)]) for n in range(4 * len(workers))
    ]
    return [answer.status_code for answer in await asyncio.gather(*sales)]


async def refund(house: House, answer: httpx.Response, worker: Any) -> httpx.Response:
    claim_id = answer.json()["claim_id"]
    async with house.client(app=worker) as client:
        return await definite(
            lambda: client.post(
                f"/v1/claims/{claim_id}/refunds",
                json={"lines": [1], "reason": "returned"},
                headers={"Idempotency-Key": f"refund-{claim_id}"},
            )
        )


async def butie(house: House, *words: str, rotating: bool) -> Result:
    environment = {
        "BUTIE_DATABASE_URL": str(house.settings.database_url),
        "BUTIE_REDIS_URL": str(house.settings.redis_url),
        "BUTIE_PII_KEY": NEW_KEY,
        "BUTIE_PII_KEYS_FORMER": SANDBOX_PII_KEY,
        "BUTIE_PII_ROTATING": "1" if rotating else "0",
    }
    return await asyncio.to_thread(CliRunner().invoke, command_line, words, env=environment)


async def books_tie(house: House) -> None:
    await house.quiet()
    await house.service.claims.sweeper.run_once()
    audit = await butie(house, "audit", rotating=True)
    assert audit.exit_code == 0, audit.output


async def test_a_key_is_replaced_step_by_step_while_tills_sell(house: House) -> None:
    bought = [await sell(house, n, person=1) for n in range(2)]
    assert [one.status_code for one in bought] == [201, 201]

    # 1. Workers of both kinds: one person cannot get more by going to and fro between them.
    both = await house.open_worker(**ROTATING)
    assert (await race(house, 100, 2, None, both)).count(201) == QUOTA
    assert (await sell(house, 2, person=1, worker=both)).status_code == 201
    for worker in (None, both):
        refused = await sell(house, 3, person=1, worker=worker)
        assert [one["code"] for one in refused.json()["reasons"]] == ["quota_used"]
    again = await sell(
        house, 2, person=1
    )  # of a claim that knows both keys, at the one that knows one
    assert again.headers["Idempotency-Replayed"] == "true"
    await books_tie(house)

    # 2. All digests are made anew, beside claims and refunds.
    old = [await sell(house, 200 + n, person=10 + n) for n in range(20)]
    rotated, *others = await asyncio.gather(
        butie(house, "pii", "rotate", rotating=True),
        race(house, 300, 3, both),
        *(refund(house, answer, both) for answer in old),
    )
    assert rotated.exit_code == 0, rotated.output
    assert others[0].count(201) == QUOTA
    assert {answer.status_code for answer in others[1:]} == {201}
    await books_tie(house)
    with pytest.raises(Misconfigured, match="not the one"):
        await house.open_worker()

    # 3. Workers that book under the newest key alone: it knows of all that was bought before.
    newest = await house.open_worker(**ROTATED)
    assert (await sell(house, 4, person=1, worker=newest)).status_code == 409
    assert (await race(house, 400, 2, both, newest)).count(201) == 0
    assert (await race(house, 500, 4, both, newest)).count(201) == QUOTA
    assert (await refund(house, bought[0], newest)).status_code == 201
    assert (await race(house, 600, 1, both, newest)).count(201) == 1
    await books_tie(house)

    # 4. Nothing is left of what the former key made, and every retry finds its claim.
    forgotten = await butie(house, "pii", "forget", rotating=False)
    assert forgotten.exit_code == 0, forgotten.output
    await nothing_left(house)
    assert (await sell(house, 5, person=1, worker=newest)).status_code == 409
    for n, answer in ((1, bought[1]), (200, old[0])):
        again = await sell(house, n, person=1 if n == 1 else 10, worker=newest)
        assert (again.status_code, again.json()) == (201, answer.json())
    assert (await refund(house, bought[1], newest)).status_code == 201
    assert (await race(house, 700, 1, newest)).count(201) == 1
    await books_tie(house)


async def nothing_left(house: House) -> None:
    subjects = await house.sql("SELECT subject FROM quota_use")
    people = await house.sql("SELECT consumer_digest FROM claim")
    prints = await house.sql("SELECT fingerprint FROM idempotency_key WHERE claim_id IS NOT NULL")
    lines = await house.sql(
        "SELECT decode(q ->> 'subject', 'hex') FROM claim_line, jsonb_array_elements(quotas) AS q"
    )
    assert {generation_of(row[0]) for row in (*subjects, *people, *prints, *lines)} == {2}


async def test_steps_out_of_order_are_refused_in_a_sentence(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "SETTLED_S", 0)  # nobody refunds here
    assert (await sell(house, 1, person=1)).status_code == 201
    early = await butie(house, "pii", "rotate", rotating=False)
    assert (early.exit_code, "BUTIE_PII_ROTATING" in early.output) == (1, True)
    for rotating in (True, False):
        early = await butie(house, "pii", "forget", rotating=rotating)
        assert (early.exit_code, "rotate first" in early.output) == (1, True)
    with pytest.raises(Misconfigured, match="not the one"):  # the second step was left out
        await house.open_worker(**ROTATED)
    assert (await butie(house, "pii", "rotate", rotating=True)).exit_code == 0
    twice = await butie(house, "pii", "rotate", rotating=True)
    assert (twice.exit_code, "there already" in twice.output) == (1, True)


async def test_a_refund_that_waits_for_the_rotation_gives_both_digests_back(house: House) -> None:
    """It began before the rotation changed its line, and goes on after: the one case in which
    a statement sees the line as it is and the quotas as they were."""
    bought = await sell(house, 1, person=1)
    both = await house.open_worker(**ROTATING)
    digester = Digester(SANDBOX_PII_KEY, NEW_KEY, rotating=True)
    connection = await asyncpg.connect(str(house.settings.database_url))
    await rotation._add_empty_rows(connection, "330402", digester)
    holding = connection.transaction()
    await holding.start()
    await connection.fetch("SELECT FROM claim FOR NO KEY UPDATE")
    giving_back = asyncio.create_task(refund(house, bought, both))
    while not await house.sql("SELECT FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.01)
    claims = [row["claim_id"] for row in await connection.fetch("SELECT claim_id FROM claim")]
    await connection.execute(rotation._ROTATE_SQL, "330402", claims, 2, *digester.pads())
    await holding.commit()
    await connection.close()
    assert (await giving_back).status_code == 201
    used = await house.sql("SELECT subject, used FROM quota_use")
    assert sorted((generation_of(row["subject"]), row["used"]) for row in used) == [(1, 0), (2, 0)]
    await books_tie(house)


async def test_another_ledgers_key_is_refused(house: House) -> None:
    with pytest.raises(Misconfigured, match="quotas would begin anew"):
        await house.open_worker(pii_key=SecretStr(NEW_KEY))


async def test_a_quota_in_money_is_reported_once_while_a_key_is_replaced(house: House) -> None:
    both = await house.open_worker(**ROTATING)
    item = {"category": "elderly_adaptation", "price_fen": 1_000_000, "energy_grade": None}
    items = [item_json(**item, line_no=n + 1, serial_no=serial(n)) for n in range(8)]
    async with house.client(app=both) as client:
        answer = await client.post(
            "/v1/claims",
            json={
                "store_id": "NH0001",
                "order_no": "o1",
                "sold_at": "2025-06-18T10:15:00+08:00",
                "consumer": {"id_type": "resident_id", "id_number": resident_id(1)},
                "items": items,
            },
            headers={"Idempotency-Key": "k1"},
        )
    numbers = [one["line_no"] for one in answer.json()["reasons"]]
    assert answer.status_code == 409
    assert len(numbers) == len(set(numbers))


async def test_the_ledger_wraps_digests_as_the_service_does(house: House) -> None:
    first, second, third = (Digester(*"abc"[:generation]) for generation in (1, 2, 3))
    checkout = make_checkout()
    for older, newer in ((first, second), (second, third)):
        for former, wrapped in (
            (older.fingerprint(checkout), newer.fingerprint(checkout)),
            (older.person(checkout.consumer)[-1], newer.person(checkout.consumer)[-1]),
        ):
            row = await house.sql(
                "SELECT digest_generation($1), wrapped_digest($1, $2, $3, $4)",
                former,
                newer.generation,
                *newer.pads(),
            )
            assert tuple(row[0]) == (older.generation, wrapped)


def test_each_key_gives_other_digests_and_says_which_it_was() -> None:
    one, two = Digester("a" * 32), Digester("a" * 32, "b" * 32)
    checkout = make_checkout()
    assert [generation_of(made) for made in one.person(checkout.consumer)] == [1]
    assert [generation_of(made) for made in two.person(checkout.consumer)] == [2]
    both = Digester("a" * 32, "b" * 32, rotating=True)
    assert both.person(checkout.consumer) == (
        *one.person(checkout.consumer),
        *two.person(checkout.consumer),
    )
    assert both.fingerprint(checkout) == one.fingerprint(checkout)
    assert two.matches(checkout, one.fingerprint(checkout))
    assert not one.matches(checkout, two.fingerprint(checkout))
    assert not two.matches(make_checkout(order_no="other"), one.fingerprint(checkout))
