"""Everybody at once: races on the real engines end with exactly what there was to give."""

import asyncio
from collections import Counter
from collections.abc import Awaitable

import httpx
import pytest

from tests.builders import item_json, resident_id, serial
from tests.conftest import House

pytestmark = pytest.mark.anyio

SUBSIDY_FEN = 119_980


@pytest.fixture(params=["with_gate", "ledger_alone"])
def either_house(request: pytest.FixtureRequest) -> House:
    name = "house" if request.param == "with_gate" else "gateless_house"
    found: House = request.getfixturevalue(name)
    return found


async def all_at_once(*claims: Awaitable[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in await asyncio.gather(*claims))


def buyer(n: int) -> dict[str, str]:
    return {"id_type": "resident_id", "id_number": resident_id(n)}


async def test_200_claims_for_a_pool_that_holds_50_grant_exactly_50(either_house: House) -> None:
    house = either_house
    workers = [house.app, await house.open_worker()]
    await house.sql(
        "UPDATE pool SET allocated_fen = $1, version = version + 1 WHERE pool = 'appliances'",
        50 * SUBSIDY_FEN + 1,
    )
    await asyncio.sleep(1.2)  # the gate is told of a changed budget within half a second
    statuses = await all_at_once(
        *(
            house.claim(
                f"k{n}",
                app=workers[n % 2],
                consumer=buyer(n),
                items=[item_json(serial_no=serial(n))],
            )
            for n in range(200)
        )
    )
    assert statuses == {201: 50, 409: 150}
    pool = (await house.sql("SELECT * FROM pool WHERE pool = 'appliances'"))[0]
    assert pool["confirmed_fen"] == 50 * SUBSIDY_FEN
    booked = "SELECT count(*), sum(amount_fen) FROM journal WHERE kind = 'grant'"
    assert tuple((await house.sql(booked))[0]) == (50, 50 * SUBSIDY_FEN)


async def test_100_claims_with_one_key_make_one_claim_and_100_equal_answers(
    either_house: House,
) -> None:
    house = either_house
    workers = [house.app, await house.open_worker()]
    answers = await asyncio.gather(*(house.claim("k", app=workers[n % 2]) for n in range(100)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    replayed = Counter("idempotency-replayed" in answer.headers for answer in answers)
    assert replayed == {True: 99, False: 1}
    assert len(await house.sql("SELECT 1 FROM claim")) == 1


async def test_one_key_with_many_bodies_at_once_makes_one_claim(either_house: House) -> None:
    """Granted or refused, those who wait for the key are all answered."""
    granted = await asyncio.gather(*(either_house.claim("k", order_no=f"P{n}") for n in range(40)))
    assert Counter(answer.status_code for answer in granted) == {201: 1, 422: 39}
    refused = await asyncio.gather(
        *(
            either_house.claim("r", order_no=f"P{n}", items=[item_json(energy_grade="3")])
            for n in range(40)
        )
    )
    assert {answer.status_code for answer in refused} == {409}


async def test_one_serial_at_two_stores_at_once_is_granted_once(either_house: House) -> None:
    house = either_house
    workers = [house.app, await house.open_worker()]
    for n in range(10):
        statuses = await all_at_once(
            *(
                house.claim(
                    f"{store}-{n}",
                    role=role,
                    app=workers[at],
                    store_id=store,
                    consumer=buyer(2 * n + at),
                    items=[item_json(serial_no=serial(n))],
                )
                for at, (store, role) in enumerate((("NH0001", "pos"), ("OT0001", "other")))
            )
        )
        assert statuses == {201: 1, 409: 1}


async def test_four_air_conditioners_of_one_person_at_once_are_granted_three(
    either_house: House,
) -> None:
    house = either_house
    workers = [house.app, await house.open_worker()]
    for person in range(5):
        statuses = await all_at_once(
            *(
                house.claim(
                    f"{person}-{n}",
                    app=workers[n % 2],
                    consumer=buyer(person),
                    items=[item_json(serial_no=serial(10 * person + n))],
                )
                for n in range(4)
            )
        )
        assert statuses == {201: 3, 409: 1}


async def test_a_claim_in_a_bad_batch_does_not_suffer(gateless_house: House) -> None:
    house = gateless_house
    await house.claim("taken", items=[item_json(serial_no=serial(0))])
    answers = await asyncio.gather(
        *(
            house.claim(
                f"k{n}",
                consumer=buyer(n),
                items=[item_json(serial_no=serial(0 if n % 2 else n + 1))],
            )
            for n in range(1, 41)
        )
    )
    assert [answer.status_code for answer in answers] == [
        409 if n % 2 else 201 for n in range(1, 41)
    ]
