"""The gate is a view of the ledger: it follows, it heals, and it never decides alone."""

import asyncio
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import redis as sync_redis

from service.claims.claim import Attempt, Seller
from service.claims.gate.answers import Admitted, Candidate, Contested, Taken
from service.claims.gate.gate import ADMISSION_S
from service.claims.prepare import pending_claim
from service.core.quote import quote
from tests.builders import item_json, make_checkout, resident_id, serial
from tests.conftest import NOW, House

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("sweeper_at_rest")]


def gate_of(house: House) -> "sync_redis.Redis[bytes]":
    return sync_redis.from_url(str(house.settings.redis_url))


async def left_in_ledger(house: House, pool: str = "appliances") -> int:
    query = "SELECT allocated_fen - spent_fen FROM pool WHERE pool = $1"
    return int((await house.sql(query, pool))[0][0])


async def test_at_rest_gate_and_ledger_are_equal_to_the_fen(house: House) -> None:
    await asyncio.gather(
        *(
            house.claim(
                f"k{n}",
                consumer={"id_type": "resident_id", "id_number": resident_id(n)},
                items=[item_json(serial_no=serial(n // 2), price_fen=100_001 + n)],
            )
            for n in range(40)
        )
    )
    await house.quiet()
    assert house.gate_left() == await left_in_ledger(house)
    assert gate_of(house).hlen("butie:{330402}:admissions") == 0


async def test_all_keys_share_the_jurisdictions_hash_tag(house: House) -> None:
    await house.claim("k1")
    assert all(key.startswith(b"butie:{330402}:") for key in gate_of(house).scan_iter())


async def test_an_older_view_never_overwrites_a_newer(house: House) -> None:
    old = await house.service.claims.ledger.pools()
    await house.claim("k1")
    await house.quiet()
    await house.service.claims.gate.settle(old)
    assert house.gate_left() == await left_in_ledger(house)


async def test_an_emptied_gate_is_refilled_and_claims_go_on_meanwhile(house: House) -> None:
    await house.claim("k1")
    gate_of(house).flushall()
    assert (await house.claim("k2", items=[item_json(serial_no=serial(2))])).status_code == 201
    await house.service.claims.sweeper.run_once()
    assert house.gate_left() == await left_in_ledger(house)
    taken = await house.claim("k3", items=[item_json(serial_no=serial(1))])
    assert taken.json()["reasons"][0]["code"] == "serial_already_claimed"


async def test_what_the_gate_remembers_wrongly_is_asked_of_the_ledger(house: House) -> None:
    gate_of(house).set(f"butie:{{330402}}:serial:{serial(1)}", "0" * 36)
    gate_of(house).set("butie:{330402}:key:sandbox:k1", "0" * 36)
    assert (await house.claim("k1")).status_code == 201


async def test_a_key_renewed_meanwhile_is_not_forgotten(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers find the same stale memory of a key; one claims, and the other forgets late."""
    key, other = "butie:{330402}:key:sandbox:k1", await house.open_worker()
    await house.set_budget("appliances", 119_980)
    gate_of(house).set(key, "0" * 36)
    gate_of(house).hset("butie:{330402}:memory", "since", 0)  # so that it is sure of itself
    forget, found, claimed = house.service.claims.gate.forget, asyncio.Event(), asyncio.Event()

    async def forget_late(*claim: Any) -> None:
        found.set()
        await claimed.wait()
        await forget(*claim)

    monkeypatch.setattr(house.service.claims.gate, "forget", forget_late)
    sold_at = "2025-06-18T10:19:59+08:00"
    late = asyncio.create_task(house.claim("k1", sold_at=sold_at))
    await found.wait()
    granted = await house.claim("k1", app=other, sold_at=sold_at)
    assert granted.status_code == 201
    await other.state.service.claims.path.drain()
    claimed.set()
    assert (await late).status_code == 201
    again = await house.claim("k1", app=other, sold_at=sold_at)
    assert (again.status_code, again.content) == (201, granted.content)


async def test_an_overdue_admission_is_fenced_and_its_money_is_free_again(house: House) -> None:
    """A worker died between admission and commit."""
    gate, path = house.service.claims.gate, house.service.claims.path
    lost = "019780c3-c9da-76f1-8a29-36f05201f175"
    record = (
        f'{{"until": {int(time.time() * 1000) - 1}, "fen": {{"appliances": 500}},'
        ' "retailer": "sandbox", "key": "lost"}'
    )
    gate_of(house).hset("butie:{330402}:admissions", lost, record)
    gate_of(house).hincrby("butie:{330402}:pool:appliances", "flying", 500)
    assert house.gate_left() == await left_in_ledger(house) - 500
    sweep = await house.service.claims.sweeper.run_once()
    assert (sweep.committed, sweep.given_up) == (0, 1)
    assert house.gate_left() == await left_in_ledger(house)
    fenced = await house.sql("SELECT fenced FROM idempotency_key WHERE idempotency_key = 'lost'")
    assert fenced[0][0] == [UUID(lost)]
    assert (await gate.view(time.time() + ADMISSION_S + 1)).overdue == []
    assert await path.claim_of_key("sandbox", "lost") is None


async def test_a_claim_that_was_given_up_can_never_commit_later(house: House) -> None:
    """The commit is held back until after the fence; the till's retry is granted anew."""
    held: list[UUID] = []
    commit = house.service.claims.ledger.commit

    async def commit_late(batch, **how):  # type: ignore[no-untyped-def]
        if not held:
            held.extend(claim.claim_id for claim in batch)
            await house.service.claims.ledger.give_up([claim.attempt for claim in batch])
        return await commit(batch, **how)

    house.service.claims.ledger.commit = commit_late  # type: ignore[method-assign]
    answer = await house.claim("k1")
    assert answer.status_code == 201
    assert answer.json()["claim_id"] != str(held[0])
    rows = await house.sql("SELECT claim_id FROM claim")
    assert [str(row[0]) for row in rows] == [answer.json()["claim_id"]]


async def test_two_attempts_under_one_key_are_given_up_together(house: House) -> None:
    lost = [UUID(int=n) for n in (1, 2)]
    await house.service.claims.ledger.give_up([Attempt("sandbox", "lost", one) for one in lost])
    fenced = await house.sql("SELECT fenced FROM idempotency_key WHERE idempotency_key = 'lost'")
    assert sorted(fenced[0][0]) == lost


async def test_a_pool_that_no_policy_knows_does_not_disable_the_gate(house: House) -> None:
    await house.sql("INSERT INTO pool VALUES ('330402', 'elsewhere', 100)")
    await house.service.claims.sweeper.run_once()
    await house.claim("k1")
    await house.quiet()
    assert house.gate_left() == await left_in_ledger(house)


async def test_giving_up_a_claim_that_committed_finds_it(house: House) -> None:
    claim_id = UUID((await house.claim("k1")).json()["claim_id"])
    found = await house.service.claims.ledger.give_up([Attempt("sandbox", "k1", claim_id)])
    assert found == {claim_id}
    assert (await house.claim("k1")).headers["idempotency-replayed"] == "true"


async def test_a_connection_lost_during_commit_is_resolved_by_asking(house: House) -> None:
    """The statement has committed, and the answer to it is lost."""
    from service.claims.ledger import commit as commits

    run = commits.Commit.run

    async def run_and_lose(self, connection, batch):  # type: ignore[no-untyped-def]
        await run(self, connection, batch)
        self.verdicts.clear()
        commits.Commit.run = run  # type: ignore[method-assign]
        raise ConnectionResetError

    commits.Commit.run = run_and_lose  # type: ignore[method-assign]
    answer = await house.claim("k1")
    assert answer.status_code == 201
    assert len(await house.sql("SELECT 1 FROM claim")) == 1


def candidate(house: House, n: int, key: str) -> Candidate:
    """A claim of person n for the n-th piece."""
    checkout = make_checkout(
        consumer={"id_type": "resident_id", "id_number": resident_id(n)},
        items=[item_json(serial_no=serial(n))],
    )
    digester = house.service.claims.digester
    claim = pending_claim(
        Seller("sandbox", "NH0001"),
        key,
        digester.fingerprint(checkout),
        checkout,
        quote(house.service.book, checkout, NOW),
        NOW,
        hold_for=timedelta(minutes=15),
        digester=digester,
    )
    return Candidate(claim, 0)


async def test_claims_of_one_call_see_what_the_ones_before_them_took(house: House) -> None:
    await house.set_budget("appliances", 2 * 119_980)
    first, same_key, same_piece, second, third = (
        candidate(house, *of) for of in ((1, "a"), (2, "a"), (1, "b"), (2, "c"), (3, "d"))
    )
    gate = house.service.claims.gate
    answers = await gate.admit([first, same_key, same_piece, second, third])
    # The key and the rest of the money are in flight, and may come back.
    assert answers == [Admitted(), Contested(), Taken(), Admitted(), Contested()]
    assert house.gate_left() == 0
    await gate.settle(undone=[first.claim, second.claim])
    assert house.gate_left() == 2 * 119_980


async def test_an_admission_that_is_named_twice_is_ended_once(house: House) -> None:
    gate, before = house.service.claims.gate, house.gate_left()
    first, second = candidate(house, 1, "a"), candidate(house, 2, "b")
    assert await gate.admit([first, second]) == [Admitted(), Admitted()]
    ids = [first.claim.claim_id] * 2
    assert await gate.settle(done=ids) == 1
    assert await gate.settle(done=ids) == 0
    assert house.gate_left() == before - 119_980


async def test_admissions_by_the_thousand_end_in_one_call(house: House) -> None:
    gate, before = house.service.claims.gate, house.gate_left()
    candidates = [candidate(house, n, f"k{n}") for n in range(1200)]
    assert set(await gate.admit(candidates)) == {Admitted()}
    assert house.gate_left() == before - 1200 * 119_980
    assert await gate.settle(done=[one.claim.claim_id for one in candidates]) == 1200
    assert house.gate_left() == before
