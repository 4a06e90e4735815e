"""The policy that was in force gives the ledger's own amounts, to the fen."""

from datetime import date
from pathlib import Path
from random import Random

import pytest

from loadtests.seed import seed
from service.replay import reader
from tests.builders import item_json, old_bike_json, old_car_json, serial, vin
from tests.conftest import NOW, House
from tests.replay.replaying import (
    Replayed,
    aircon,
    end_hold,
    later,
    offer,
    refund,
    replayed,
    rows,
    sell,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

CLAIMS = 160
PERSONS = 12
GOODS = (
    ("air_conditioner", ("1", "2")),
    ("refrigerator", ("1", "2")),
    ("air_fryer", ("none",)),
    ("phone", (None,)),
    ("sofa", (None,)),
    ("elderly_adaptation", (None,)),
    ("e_bike", (None,)),
    ("new_energy_car", (None,)),
)


async def live_for_months(house: House, random: Random) -> None:
    """Months of sales by few persons, who often reach their quotas: holds that are confirmed,
    cancelled or expire, refunds of some lines, sales that are refused."""
    refundable: list[str] = []
    for n in range(CLAIMS):
        later(house, minutes=random.choice((1, 30, 2_000)))
        items = [goods(n * 2 + at, random) for at in range(random.choice((1, 1, 2)))]
        holding = random.random() < 0.3
        answer = await offer(house, f"k{n}", random.randrange(PERSONS), *items, hold=holding)
        if answer.status_code != 201:
            continue
        claim_id = answer.json()["claim_id"]
        if holding:
            how = random.choice(("confirm", "cancel", "expire"))
            if how == "expire":
                later(house, minutes=20)
                await house.service.claims.sweeper.run_once()
                continue
            await end_hold(house, claim_id, how)
            if how == "cancel":
                continue
        refundable.append(claim_id)
        if random.random() < 0.4:
            later(house, minutes=random.choice((0, 300)))
            await refund(house, refundable.pop(random.randrange(len(refundable))), 1)


def goods(n: int, random: Random) -> dict[str, object]:
    category, grades = random.choice(GOODS)
    price_fen = random.randint(20_000, 900_000) if category != "phone" else 450_001
    item = item_json(
        category=category,
        serial_no=serial(n),
        price_fen=price_fen,
        energy_grade=random.choice(grades),
    )
    if category == "new_energy_car":
        old = old_car_json(serial_no=vin(9_000_000 + random.randrange(4)))
        item |= {"serial_no": vin(n), "price_fen": 9_000_000 + n, "trade_in": old}
    if category == "e_bike":
        item["trade_in"] = old_bike_json(serial_no=f"old-{random.randrange(9)}")
    return item


def assert_ties(got: Replayed) -> None:
    assert got.lines
    for line in got.lines:
        assert line["subsidy_fen"] == line["booked_fen"], line
        assert line["outcome"] != "refused", line
    assert (got.total("more"), got.total("less"), got.refused()) == (0, 0, {})


@pytest.mark.parametrize("chance", [1, 2])
async def test_months_of_sales_get_what_the_ledger_gave(
    house: House, tmp_path: Path, chance: int
) -> None:
    await live_for_months(house, Random(chance))
    got = await replayed(str(house.settings.database_url), tmp_path)
    assert_ties(got)
    count, fen = (await house.sql("SELECT count(*), sum(subsidy_fen) FROM claim_line"))[0]
    assert (got.total("lines"), sum(int(line["subsidy_fen"]) for line in got.lines)) == (count, fen)
    states = {line["state"] for line in got.lines}
    assert states == {"confirmed", "refunded", "cancelled", "expired"}
    journal = await house.sql("SELECT sum(amount_fen) FROM journal WHERE kind <> 'allocation'")
    assert got.total("subsidy_fen") == got.total("booked_fen") == journal[0][0]


async def test_a_seeded_ledger_gets_what_it_has(empty_database_url: str, tmp_path: Path) -> None:
    await seed(empty_database_url, 3_000, NOW, first=date(2025, 4, 1))
    period = ("2025-04-01", "2025-06-17")
    got = await replayed(empty_database_url, tmp_path, period=period)
    assert_ties(got)
    assert (got.total("lines"), got.total("refunded"), got.total("ended")) == (3_000, 30, 30)


async def test_a_pool_that_is_spent_to_the_fen_ties(house: House, tmp_path: Path) -> None:
    """A claim is stamped when it begins, and a refund's money may come in while it waits."""
    await house.sql("DELETE FROM pool_part")
    left = (await house.sql("SELECT allocated_fen FROM pool WHERE pool = 'appliances'"))[0][0]
    await withdraw(house, left - 119_980)
    first = await sell(house, "k1", 1, aircon(1))
    later(house, seconds=2)
    await refund(house, first, 1)
    # Stamped two seconds before the refund that it lives on.
    later(house, seconds=-2)
    await sell(house, "k2", 2, aircon(2))
    assert_ties(await replayed(str(house.settings.database_url), tmp_path))


async def withdraw(house: House, fen: int) -> None:
    async with house.client("admin") as client:
        answer = await client.post(
            "/v1/budgets/appliances/adjustments",
            json={"delta_fen": -fen, "reason": "test", "document_no": "T1"},
            headers={"Idempotency-Key": "withdraw"},
        )
    assert answer.status_code in (200, 201), answer.text


async def test_every_run_gives_the_same_bytes(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many readers there are, and wherever their slices end."""
    await live_for_months(house, Random(3))
    url = str(house.settings.database_url)
    more = ("--set", "schemes.appliances.cap_fen=70000", "--budget", "appliances=900000")
    runs = []
    for readers, claims in ((1, 10_000), (3, 10_000), (2, 7)):
        monkeypatch.setattr(reader, "READERS_MAX", readers)
        monkeypatch.setattr("service.replay.read.SLICE_CLAIMS", claims)
        runs.append((await replayed(url, tmp_path, *more)).files)
    assert runs[0] == runs[1] == runs[2]
    refused = [row for row in rows(runs[0]["csv"]) if "budget_exhausted" in row["reasons"]]
    assert refused
