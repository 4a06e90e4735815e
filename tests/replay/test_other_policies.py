"""What changes when the rules change: caps, quotas, budgets, the year."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet
import pytest

from service.core.calendar import business_day
from service.core.money import yuan
from service.policies import SHIPPED
from tests.builders import item_json, old_car_json, serial, vin
from tests.conftest import House
from tests.replay.replaying import (
    IN_FORCE,
    aircon,
    end_hold,
    later,
    refund,
    replayed,
    run,
    sell,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


def url(house: House) -> str:
    return str(house.settings.database_url)


async def test_a_lower_cap_is_paid_and_who_loses_is_named(house: House, tmp_path: Path) -> None:
    await sell(house, "k1", 1, aircon(1, 599_900))  # 1,199.80 of 2,000.00
    await sell(house, "k2", 2, aircon(2, 200_000))
    got = await replayed(url(house), tmp_path, "--set", "schemes.appliances.cap_fen=100000")
    assert got.outcomes() == [("granted", 100_000), ("granted", 40_000)]
    assert (got.total("subsidy_fen"), got.total("booked_fen")) == (140_000, 159_980)
    assert (got.total("less"), got.total("more")) == (1, 0)
    assert "sandbox" in got.output and "-199.80" in got.output


async def test_a_smaller_quota_refuses_the_second_piece(house: House, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        await sell(house, f"k{n}", 1, aircon(n))
    await sell(house, "k4", 2, aircon(4))
    path = "schemes.appliances.air_conditioner.quota.limit"
    got = await replayed(url(house), tmp_path, "--set", f"{path}=1")
    assert [line["outcome"] for line in got.lines] == ["granted", "refused", "refused", "granted"]
    assert got.refused() == {"quota_used": 2}
    assert {line["reasons"] for line in got.lines} == {"", "quota_used"}


async def test_a_refund_gives_the_right_back_unless_the_policy_keeps_it(
    house: House, tmp_path: Path
) -> None:
    first = await sell(house, "k1", 1, aircon(1))
    later(house, days=1)
    await refund(house, first, 1)
    later(house, days=1)
    await sell(house, "k2", 1, aircon(2))
    one = ("--set", "schemes.appliances.air_conditioner.quota.limit=1")
    got = await replayed(url(house), tmp_path, *one)
    assert [line["outcome"] for line in got.lines] == ["refunded", "granted"]
    got = await replayed(url(house), tmp_path, *one, "--set", "refund_restores_quota=false")
    assert [line["outcome"] for line in got.lines] == ["refunded", "refused"]


async def test_a_hold_that_came_to_nothing_takes_nothing(house: House, tmp_path: Path) -> None:
    held = await sell(house, "k1", 1, aircon(1), hold=True)
    later(house, minutes=1)
    await end_hold(house, held, "cancel")
    await sell(house, "k2", 1, aircon(2))
    more = ("--set", "schemes.appliances.air_conditioner.quota.limit=1")
    got = await replayed(url(house), tmp_path, *more, "--budget", "appliances=119980")
    assert [line["outcome"] for line in got.lines] == ["ended", "granted"]
    assert (got.total("granted"), got.total("ended"), got.total("subsidy_fen")) == (1, 1, 119_980)


async def test_one_refused_line_leaves_the_others_of_its_sale(house: House, tmp_path: Path) -> None:
    phone = item_json(category="phone", energy_grade=None, serial_no=serial(9), price_fen=300_000)
    await sell(house, "k1", 1, aircon(1), phone)
    got = await replayed(url(house), tmp_path, "--set", "schemes.digital.price_max_fen=200000")
    assert got.outcomes() == [("granted", 119_980), ("refused", 0)]
    assert got.refused() == {"price_over_limit": 1}


async def test_a_pool_runs_out_on_the_right_day_and_opens_again(
    house: House, tmp_path: Path
) -> None:
    """Each claim takes 1,199.80; a refund pays for one more."""
    start = house.service.clock.now()
    claims = []
    for n in range(6):
        claims.append(await sell(house, f"k{n}", n, aircon(n)))
        if n == 3:
            later(house, hours=1)
            await refund(house, claims[0], 1)
        later(house, days=1)
    got = await replayed(url(house), tmp_path, "--budget", f"appliances={2 * 119_980 + 5}")
    outcomes = [line["outcome"] for line in got.lines]
    assert outcomes == ["refunded", "granted", "refused", "refused", "granted", "refused"]
    assert got.refused() == {"budget_exhausted": 3}
    ran_out = business_day(start + timedelta(days=2))
    appliances = next(line for line in got.output.splitlines() if "家电" in line)
    assert f" {ran_out} " in appliances and " 0.05 " in appliances
    assert f"{ran_out} 用完" in got.files["svg"].decode()


async def test_money_that_came_later_is_not_there_before(house: House, tmp_path: Path) -> None:
    """The ledger's own allocations are taken at their moments."""
    left = (await house.sql("SELECT allocated_fen FROM pool WHERE pool = 'appliances'"))[0][0]
    await adjust(house, "a1", 150_000 - left)
    await sell(house, "k1", 1, aircon(1, 300_000))  # 600.00 of 1,500.00
    await sell(house, "k2", 2, aircon(2, 300_000))
    later(house, days=2)
    await adjust(house, "a2", 500_000)
    await sell(house, "k3", 3, aircon(3, 300_000))
    got = await replayed(url(house), tmp_path, "--set", "schemes.appliances.grades.1=3000")
    assert got.outcomes() == [("granted", 90_000), ("refused", 0), ("granted", 90_000)]


async def adjust(house: House, key: str, delta_fen: int) -> None:
    async with house.client("admin") as client:
        answer = await client.post(
            "/v1/budgets/appliances/adjustments",
            json={"delta_fen": delta_fen, "reason": "test", "document_no": "T1"},
            headers={"Idempotency-Key": key},
        )
    assert answer.status_code in (200, 201), answer.text
    await house.service.claims.sweeper.run_once()


async def test_sales_of_before_use_up_the_years_quota(house: House, tmp_path: Path) -> None:
    await sell(house, "k1", 1, aircon(1))
    later(house, days=10)
    await sell(house, "k2", 1, aircon(2))
    await sell(house, "k3", 2, aircon(3))
    day = str(business_day(house.service.clock.now()))
    more = ("--set", "schemes.appliances.air_conditioner.quota.limit=1")
    got = await replayed(url(house), tmp_path, *more, period=(day, day))
    assert [line["outcome"] for line in got.lines] == ["refused", "granted"]
    got = await replayed(url(house), tmp_path, period=(day, day))
    assert [line["outcome"] for line in got.lines] == ["granted", "granted"]


async def test_sales_of_other_days_keep_what_they_got(house: House, tmp_path: Path) -> None:
    """They take their money from the pool, and their refunds bring it back: those that were claimed
    before the period, and those that were sold before it and claimed in it."""
    first = await sell(house, "k1", 1, aircon(1))
    yesterday = house.service.clock.now()
    later(house, days=1)
    day = str(business_day(house.service.clock.now()))
    left = (await house.sql("SELECT sum(amount_fen)::bigint FROM journal WHERE kind = 'allocation'"
                            " AND pool = 'appliances'"))[0][0]  # fmt: skip

    async def left_after() -> str:
        got = await replayed(url(house), tmp_path, period=(day, day))
        appliances = next(line for line in got.output.splitlines() if "家电" in line)
        return appliances.split("│")[-3].strip()

    second = await sell(house, "k2", 2, aircon(2), sold_at=yesterday.isoformat())
    await sell(house, "k3", 3, aircon(3))
    assert await left_after() == yuan(left - 3 * 119_980)
    later(house, minutes=1)
    await refund(house, first, 1)
    assert await left_after() == yuan(left - 2 * 119_980)
    await refund(house, second, 1)
    assert await left_after() == yuan(left - 119_980)
    got = await replayed(url(house), tmp_path, period=(day, day))
    assert got.outcomes() == [("granted", 119_980)]


async def test_next_years_policy_is_laid_on_this_years_sales(house: House, tmp_path: Path) -> None:
    """What was owned for a year before the sale was owned for a year before the moved one."""
    for n, since in ((1, "2023-12-31"), (2, "2024-12-31")):
        old = old_car_json(owned_since=since, serial_no=vin(9_000_000 + n))
        car = item_json(
            category="new_energy_car", energy_grade=None, serial_no=vin(n), price_fen=12_000_000,
            trade_in=old,
        )  # fmt: skip
        await sell(house, f"k{n}", n, car)
    sofa = item_json(category="sofa", energy_grade=None, serial_no=serial(8), price_fen=100_000)
    await sell(house, "k3", 3, aircon(2), sofa)
    got = await replayed(url(house), tmp_path, file="national-2026.yaml")
    assert "as if each sale had been 1 year later" in got.output
    reasons = [(line["reasons"], line["subsidy_fen"]) for line in got.lines]
    assert reasons == [
        ("", "960000"),
        ("trade_in_required", "0"),
        ("", "89985"),
        ("category_not_covered", "0"),
    ]
    assert got.lines[0]["sold_on"] == "2025-06-18"


async def test_an_age_that_the_ledger_does_not_know_is_said(house: House, tmp_path: Path) -> None:
    bath = item_json(category="elderly_adaptation", energy_grade=None, serial_no=serial(5),
                     price_fen=100_000)  # fmt: skip
    await sell(house, "k1", 1, bath)
    got = await replayed(url(house), tmp_path, "--set", "schemes.elderly.age_min=70")
    assert got.outcomes() == [("granted", 30_000)]
    assert "1 lines need an age that the ledger does not know" in got.output
    got = await replayed(url(house), tmp_path)
    assert "need an age" not in got.output


async def test_a_scheme_without_money_says_how_to_give_it_some(
    house: House, tmp_path: Path
) -> None:
    await sell(house, "k1", 1, aircon(1))
    text = (SHIPPED / IN_FORCE).read_text(encoding="utf-8").replace("  appliances:", "  white:")
    (tmp_path / "white.yaml").write_text(text, encoding="utf-8")
    file = str(tmp_path / "white.yaml")
    got = await replayed(url(house), tmp_path, file=file)
    assert got.refused() == {"budget_exhausted": 1}
    assert "white has no money in the ledger" in got.output
    got = await replayed(url(house), tmp_path, "--budget", "white=119980", file=file)
    assert got.outcomes() == [("granted", 119_980)]


async def test_the_picture_and_the_parquet_file_say_what_the_table_says(
    house: House, tmp_path: Path
) -> None:
    await sell(house, "k1", 1, aircon(1))
    got = await replayed(url(house), tmp_path, "--set", "schemes.appliances.cap_fen=100000")
    picture = ElementTree.fromstring(got.files["svg"])
    words = " ".join(picture.itertext())
    for text in (
        "政策推演",
        "Replay",
        "1,000.0",
        "1,199.8",
        "-199.8",
        "空调",
        "grade 1",
        "2025-06",
    ):
        assert text in words
    lines = pyarrow.parquet.read_table(tmp_path / "replay.parquet").to_pylist()
    assert lines[0]["subsidy_fen"] == 100_000
    assert lines[0]["subsidy_yuan"] == Decimal("1000.00")
    assert [line["claim_id"] for line in lines] == [line["claim_id"] for line in got.lines]


async def test_a_period_without_sales_has_empty_tables(house: House, tmp_path: Path) -> None:
    await sell(house, "k1", 1, aircon(1))
    got = await replayed(url(house), tmp_path, period=("2025-02-01", "2025-02-28"))
    assert got.lines == got.table == []
    assert "lines get more" in got.output


SET_FAULTS = {
    "schemes.appliances.cap_fn=1": "nearest is schemes.appliances.cap_fen",
    "schemes.appliance.cap_fen=1": "nearest is schemes.appliances.cap_fen",
    "schemes.appliances.cap_fen=lots": "schemes.appliances.cap_fen",
    "schemes.appliances.cap_fen=1.5": "only whole numbers",
    "schemes.appliances.cap_fen=[1]": "a single value",
    "schemes.appliances.cap_fen=0": "greater than 0",
    "schemes.appliances.cap_fen": "write it like --set",
    "in_force.to_on=2024-01-01": "is after to_on",
    "funding.centre_bp=9000": "the shares make 10500",
}


@pytest.mark.parametrize("text", SET_FAULTS)
async def test_a_value_that_cannot_be_set_is_told_in_a_sentence(
    empty_database_url: str, tmp_path: Path, text: str
) -> None:
    result = await run(empty_database_url, tmp_path, "--set", text)
    assert result.exit_code == 2
    assert SET_FAULTS[text] in result.stderr and "Traceback" not in result.output


FAULTS = [
    ({"file": "no-such.yaml"}, (), "no-such.yaml cannot be read"),
    ({"period": ("2025-12-31", "2025-06-18")}, (), "--from is after --to."),
    ({"period": ("tomorrow", "2025-06-18")}, (), "days like 2025-06-18"),
    ({"BUTIE_JURISDICTION": "330411"}, (), "jurisdiction 330402"),
    ({}, ("--budget", "white=5"), "pools are appliances, digital"),
    ({}, ("--budget", "cars=-5"), "a whole number of fen"),
    ({}, ("--budget", "cars=5", "--budget", "cars=6"), "is given twice"),
    ({}, ("--svg", "/nowhere/a.svg"), "/nowhere/a.svg cannot be written"),
    (
        {},
        ("--set", "in_force.to_on=2025-06-17"),
        "in force from 2025-01-01 to 2025-06-17: no day from 2025-06-18 to 2025-12-31 is in it",
    ),
]


@pytest.mark.parametrize(("options", "more", "sentence"), FAULTS)
async def test_a_mistake_is_told_in_a_sentence(
    empty_database_url: str, tmp_path: Path, options: dict[str, str], more: tuple[str, ...],
    sentence: str,
) -> None:  # fmt: skip
    result = await run(empty_database_url, tmp_path, *more, **options)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr and "Traceback" not in result.output
