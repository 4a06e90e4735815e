"""Claims that share a trip: a batch is what queued, and it sorts out its own collisions."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest

from service.batcher import MicroBatcher, Overloaded
from service.claims.claim import PendingClaim, Seller
from service.claims.ledger.commit import Committed, split_collisions
from service.claims.people.digests import Digester
from service.claims.prepare import pending_claim
from service.core.quote import quote
from tests.builders import item_json, make_checkout, resident_id, serial
from tests.conftest import NOW, House

pytestmark = pytest.mark.anyio

DIGESTER = Digester("a key of the tests, of no use to anyone")


# --- the batcher ------------------------------------------------------------------------


class Line:
    """What carries batches, and waits at each until it is told to go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def send(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        await self.go_on.wait()
        return [-item for item in batch]


async def test_a_batch_is_what_queued_while_the_last_was_on_its_way() -> None:
    line = Line()
    batcher = MicroBatcher(line.send, batch_max=3, queue_max=9)
    asked = [asyncio.create_task(batcher.submit(0))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert line.batches == [[0]]  # the line was free: it left alone, and at once
    asked += [asyncio.create_task(batcher.submit(n)) for n in range(1, 6)]
    await asyncio.sleep(0)
    assert line.batches == [[0]]
    line.go_on.set()
    assert await asyncio.gather(*asked) == [0, -1, -2, -3, -4, -5]
    assert line.batches == [[0], [1, 2, 3], [4, 5]]


async def test_a_full_queue_turns_away_and_keeps_what_it_has() -> None:
    line = Line()
    batcher = MicroBatcher(line.send, batch_max=2, queue_max=2)
    asked = [asyncio.create_task(batcher.submit(0))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked += [asyncio.create_task(batcher.submit(n)) for n in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit(3)
    line.go_on.set()
    assert await asyncio.gather(*asked) == [0, -1, -2]


async def test_a_fault_reaches_all_of_its_batch_and_nobody_else() -> None:
    async def send(batch: Sequence[int]) -> list[int]:
        if 1 in batch:
            raise OSError("the line broke")
        return list(batch)

    batcher = MicroBatcher(send, batch_max=2, queue_max=9)
    asked = [batcher.submit(n) for n in range(4)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(answer, OSError) for answer in answers] == [True, True, False, False]


async def test_who_stops_waiting_takes_nobody_along() -> None:
    line = Line()
    batcher = MicroBatcher(line.send, batch_max=3, queue_max=9)
    asked = [asyncio.create_task(batcher.submit(n)) for n in range(3)]
    await asyncio.sleep(0)
    asked[1].cancel()
    line.go_on.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers[0] == 0 and answers[2] == -2
    assert isinstance(answers[1], asyncio.CancelledError)


async def test_what_is_submitted_together_shares_a_batch_in_its_turn() -> None:
    line = Line()
    batcher = MicroBatcher(line.send, batch_max=4, queue_max=9)
    asked: list[asyncio.Task[object]] = [asyncio.create_task(batcher.submit(0))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked += [
        asyncio.create_task(batcher.submit(1)),
        asyncio.create_task(batcher.submit_all([2, 3, 4])),
        asyncio.create_task(batcher.submit_all([5, 6])),
        asyncio.create_task(batcher.submit(7)),
    ]
    await asyncio.sleep(0)
    assert len(batcher) == 7
    line.go_on.set()
    assert await asyncio.gather(*asked) == [0, -1, [-2, -3, -4], [-5, -6], -7]
    assert line.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]
    assert len(batcher) == 0


async def test_a_group_that_is_larger_than_a_batch_goes_alone_and_whole() -> None:
    line = Line()
    line.go_on.set()
    batcher = MicroBatcher(line.send, batch_max=2, queue_max=9)
    asked: list[asyncio.Task[object]] = [
        asyncio.create_task(batcher.submit(0)),
        asyncio.create_task(batcher.submit_all([1, 2, 3])),
        asyncio.create_task(batcher.submit(4)),
    ]
    assert await asyncio.gather(*asked) == [0, [-1, -2, -3], -4]
    assert line.batches == [[0], [1, 2, 3], [4]]


async def test_items_that_the_queue_has_no_room_for_are_all_turned_away() -> None:
    line = Line()
    batcher = MicroBatcher(line.send, batch_max=4, queue_max=4)
    asked: list[asyncio.Task[object]] = [asyncio.create_task(batcher.submit(0))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked.append(asyncio.create_task(batcher.submit_all([1, 2, 3])))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit_all([4, 5])
    asked.append(asyncio.create_task(batcher.submit(6)))
    await asyncio.sleep(0)
    line.go_on.set()
    assert await asyncio.gather(*asked) == [0, [-1, -2, -3], -6]


# --- collisions -------------------------------------------------------------------------

# How often a person may have an air conditioner in 2025.
ALLOWED = 3


def some_claims(house: House, luck: random.Random, world: int) -> list[PendingClaim]:
    """A batch of few keys, serials and people, so that most of it collides."""
    claims = []
    for n in range(luck.randint(1, 14)):
        lines, start = luck.randint(1, 2), world * 100
        checkout = make_checkout(
            consumer={
                "id_type": "resident_id",
                "id_number": resident_id(world * 10 + luck.randint(0, 3)),
            },
            items=[
                item_json(line_no=line, serial_no=serial(start + 2 * luck.randint(0, 6) + line))
                for line in range(1, lines + 1)
            ],
            order_no=f"{n}",
        )
        claims.append(
            pending_claim(
                Seller("sandbox", "NH0001"),
                f"w{world}-{luck.randint(0, 9)}",
                DIGESTER.fingerprint(checkout),
                checkout,
                quote(house.service.book, checkout, NOW),
                NOW,
                hold_for=timedelta(minutes=15),
                digester=DIGESTER,
            )
        )
    return claims


def granted_one_by_one(claims: Sequence[PendingClaim]) -> list[bool]:
    """What comes of them when each waits for the one before: the truth for any batch."""
    keys, serials, had = set[str](), set[str](), Counter[bytes]()
    granted = []
    for claim in claims:
        wanted = {one for line in claim.lines for one in line.serials}
        fits = (
            claim.idempotency_key not in keys
            and serials.isdisjoint(wanted)
            and had[claim.consumer_digest] + len(claim.lines) <= ALLOWED
        )
        granted.append(fits)
        if fits:
            keys.add(claim.idempotency_key)
            serials |= wanted
            had[claim.consumer_digest] += len(claim.lines)
    return granted


@pytest.mark.parametrize("seed", range(4))
async def test_a_batch_of_colliding_claims_ends_as_if_each_had_come_alone(
    gateless_house: House, seed: int
) -> None:
    luck = random.Random(seed)
    worlds = range(seed * 1000, seed * 1000 + 25)
    for world in worlds:
        claims = some_claims(gateless_house, luck, world)
        report = await gateless_house.service.claims.ledger.commit(claims, bypassed=True)
        granted = [verdict == Committed() for verdict in report.verdicts]
        assert granted == granted_one_by_one(claims), f"seed {seed}, world {world}"


async def test_what_goes_together_shares_nothing_and_keeps_its_order(house: House) -> None:
    luck = random.Random(7)
    for world in range(50):
        waiting = some_claims(house, luck, world)
        order = {claim.claim_id: n for n, claim in enumerate(waiting)}
        trips = 0
        while waiting:
            together, waiting = split_collisions(waiting)
            keys = [claim.idempotency_key for claim in together]
            serials = [one for claim in together for line in claim.lines for one in line.serials]
            people = [claim.consumer_digest for claim in together]
            for wants in (keys, serials, people):
                assert len(wants) == len(set(wants))
            assert [order[one.claim_id] for one in waiting] == sorted(
                order[one.claim_id] for one in waiting
            )
            trips += 1
        assert trips <= 14
