"""The metrics equal the ledger and the tills' answers."""

from datetime import timedelta

import pytest

from service.core.reasons import ReasonCode
from service.finance.journal import sums
from tests.builders import item_json, resident_id, serial
from tests.conftest import House
from tests.finance.books import claim_some, many_entries
from tests.ops.scraped import scrape, value

pytestmark = pytest.mark.anyio

AC = {"kind": "grant", "pool": "appliances", "category": "air_conditioner"}


async def refund(house: House, claim_id: str) -> None:
    async with house.client() as till:
        answer = await till.post(
            f"/v1/claims/{claim_id}/refunds",
            json={"lines": [1], "reason": "returned"},
            headers={"Idempotency-Key": f"r-{claim_id}"},
        )
    assert answer.status_code == 201, answer.text


async def test_the_pools_and_the_journal_are_shown_as_the_ledger_has_them(house: House) -> None:
    await house.sql("UPDATE store SET town = '新嘉街道' WHERE store_id = 'NH0001'")
    first, *_ = await claim_some(house, 3)
    await refund(house, first)
    await house.claim(
        "held",
        hold=True,
        consumer={"id_type": "resident_id", "id_number": resident_id(9)},
        items=[item_json(serial_no=serial(9), price_fen=200_000)],
    )
    scraped = await scrape(house)
    (pool,) = await house.sql("SELECT * FROM pool WHERE pool = 'appliances'")
    for measure in ("allocated", "confirmed", "reserved"):
        shown = value(scraped, "butie_pool_fen", pool="appliances", part=measure)
        assert shown == pool[f"{measure}_fen"]
    left = pool["allocated_fen"] - pool["confirmed_fen"] - pool["reserved_fen"]
    assert value(scraped, "butie_pool_fen", pool="appliances", part="remaining") == left
    granted = 3 * 20_000 + sum(n * 2000 // 10_000 for n in (1, 2, 3))
    assert value(scraped, "butie_journal_fen_total", **AC) == granted
    assert value(scraped, "butie_journal_entries_total", **AC) == 3
    assert value(scraped, "butie_journal_entries_total", **{**AC, "kind": "refund"}) == 1
    assert value(scraped, "butie_town_fen_total", kind="grant", town="新嘉街道") == granted
    today = {"day": "today", "pool": "appliances"}
    assert value(scraped, "butie_day_fen", kind="grant", **today) == granted
    assert value(scraped, "butie_day_fen", kind="refund", **today) == 20_000
    assert value(scraped, "butie_day_fen", kind="refund", day="yesterday", pool="cars") == 0
    assert value(scraped, "butie_holds") == 1
    assert value(scraped, "butie_uninvoiced_claims", age="week") == 2
    assert value(scraped, "butie_uninvoiced_fen", age="week") == granted - 20_000
    assert value(scraped, "butie_journal_unsummed_entries") == 0
    assert value(scraped, "butie_ledger_up") == 1


async def test_sales_are_shown_as_the_lines_were_sold(house: House) -> None:
    await house.sql("UPDATE store SET town = '新嘉街道' WHERE store_id = 'NH0001'")
    first, *_ = await claim_some(house, 3)
    await refund(house, first)
    held = await house.claim(
        "held",
        hold=True,
        consumer={"id_type": "resident_id", "id_number": resident_id(9)},
        items=[item_json(serial_no=serial(9), price_fen=200_000)],
    )
    assert held.status_code == 201
    scraped = await scrape(house)
    sold, returned = 300_006, 100_001  # of the prices 100,001, 100,002 and 100,003
    assert value(scraped, "butie_sales_fen_total", **AC) == sold
    assert value(scraped, "butie_sales_fen_total", **{**AC, "kind": "refund"}) == returned
    for kind, fen in (("grant", sold), ("refund", returned)):
        town = value(scraped, "butie_town_sales_fen_total", kind=kind, town="新嘉街道")
        today = {"day": "today", "kind": kind, "pool": "appliances"}
        assert town == value(scraped, "butie_day_sales_fen", **today) == fen
    yesterday = {"day": "yesterday", "kind": "grant", "pool": "cars"}
    assert ("butie_day_sales_fen", frozenset(yesterday.items())) in scraped
    assert value(scraped, "butie_sales_unsummed_entries") == 0
    again = await scrape(house, await house.open_worker())
    assert value(again, "butie_sales_fen_total", **AC) == sold


async def test_after_an_upgrade_the_sales_catch_up_from_the_first_entry(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await claim_some(house, 6)
    await scrape(house)
    for table in ("sales_sum_day", "sales_sum_store", "sales_sum_mark"):
        await house.sql(f"DELETE FROM {table}")  # as they are after the migration
    monkeypatch.setattr(sums, "ENTRIES_MAX", 5)
    unsummed = []
    while not unsummed or unsummed[-1]:
        scraped = await scrape(house)
        unsummed.append(value(scraped, "butie_sales_unsummed_entries"))
    assert len(unsummed) > 2
    assert value(scraped, "butie_sales_fen_total", **AC) == sum(100_000 + n for n in range(1, 7))
    assert value(scraped, "butie_journal_entries_total", **AC) == 6


async def test_every_worker_and_every_start_shows_the_same_figures(house: House) -> None:
    await claim_some(house, 2)
    before = await scrape(house)
    await claim_some(house, 1, start=5)
    other = await scrape(house, await house.open_worker())
    again = await scrape(house)
    for name in ("butie_pool_fen", "butie_journal_fen_total", "butie_day_fen"):
        of_other = {key: shown for key, shown in other.items() if key[0] == name}
        assert of_other == {key: shown for key, shown in again.items() if key[0] == name}
        assert of_other != {key: shown for key, shown in before.items() if key[0] == name}


async def test_a_long_journal_is_summed_in_steps_and_nothing_twice(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await many_entries(house, 250)
    monkeypatch.setattr(sums, "ENTRIES_MAX", 100)
    unsummed = []
    while not unsummed or unsummed[-1]:
        unsummed.append(value(await scrape(house), "butie_journal_unsummed_entries"))
    assert len(unsummed) > 2
    assert unsummed == sorted(unsummed, reverse=True)
    scraped = await scrape(house)
    for category, expected in (("phone", 125 * 126), ("tablet", 125 * 125)):
        labels = {"kind": "grant", "pool": "digital", "category": category}
        assert value(scraped, "butie_journal_fen_total", **labels) == expected


async def test_an_entry_that_commits_after_one_with_a_higher_number_is_not_missed(
    house: House,
) -> None:
    import asyncpg

    late = await asyncpg.connect(str(house.settings.database_url))
    async with late.transaction():
        await late.execute(
            "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
            " claim_id, category) VALUES ('330402', 'grant', '2025-06-18', now(), 'home', 777,"
            " gen_random_uuid(), 'sofa')"
        )
        await claim_some(house, 1)
        during = await scrape(house)
    await late.close()
    after = await scrape(house)
    labels = {"kind": "grant", "pool": "home", "category": "sofa"}
    assert value(during, "butie_journal_fen_total", **labels) == 0
    assert value(during, "butie_journal_unsummed_entries") > 0
    assert value(after, "butie_journal_fen_total", **labels) == 777
    assert value(after, "butie_journal_fen_total", **AC) == 20_000


async def test_decisions_are_counted_by_scheme_category_and_outcome(house: House) -> None:
    lines = {"scheme": "appliances", "category": "air_conditioner"}
    before = await scrape(house)
    await claim_some(house, 2)
    await house.claim("k1")  # another body under a used key
    await house.claim("x", items=[item_json(category="teapot")])
    await house.set_budget("appliances", 40_000)
    await house.claim(
        "y",
        consumer={"id_type": "resident_id", "id_number": resident_id(7)},
        items=[item_json(serial_no=serial(7), price_fen=300_000)],
    )
    after = await scrape(house)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert more("butie_claims_total", outcome="granted") == 2
    assert more("butie_claims_total", outcome="keyreused") == 1
    assert more("butie_claims_total", outcome="refused") == 2
    assert more("butie_claim_lines_total", **lines, outcome="granted") == 2
    assert more("butie_claim_lines_fen_total", **lines, outcome="granted") == 40_000
    assert more("butie_claim_lines_total", **lines, outcome="no_money") == 1
    unknown = {"scheme": "unknown", "category": "unknown"}
    assert more("butie_claim_lines_total", **unknown, outcome="refused") == 1
    assert more("butie_refusals_total", code=ReasonCode.CATEGORY_NOT_COVERED) == 1
    assert more("butie_refusals_total", code=ReasonCode.BUDGET_EXHAUSTED) == 1
    assert not [key for key in after if "teapot" in str(key)]


async def test_planned_tranches_and_the_gate_are_shown(house: House) -> None:
    opens_at = house.service.clock.now() + timedelta(days=2)
    await house.sql(
        "INSERT INTO tranche (jurisdiction, tranche_id, pool, opens_at, amount_fen, document_no,"
        " state, planned_at) SELECT '330402', gen_random_uuid(), 'cars', $1::timestamptz"
        " + n * interval '1 day', 1000, 'd', 'planned', now() FROM generate_series(0, 1) AS n",
        opens_at,
    )
    await house.quiet()
    await house.service.claims.sweeper.run_once()
    scraped = await scrape(house)
    assert value(scraped, "butie_tranche_fen", pool="cars") == 2000
    shown = value(scraped, "butie_tranche_next_timestamp_seconds", pool="cars")
    assert shown == pytest.approx(opens_at.timestamp())
    assert value(scraped, "butie_gate_mode", mode="guarding") == 1
    assert ("butie_gate_drift_fen", frozenset({("pool", "cars")})) in scraped
    assert value(scraped, "butie_gate_drift_fen", pool="cars") == 0


async def test_a_gate_that_differs_from_the_ledger_is_shown(house: House) -> None:
    import redis

    gate = redis.from_url(str(house.settings.redis_url))
    gate.hincrby("butie:{330402}:pool:cars", "spent", 500)
    await house.service.claims.sweeper.run_once()
    assert value(await scrape(house), "butie_gate_drift_fen", pool="cars") == -500


async def test_without_a_ledger_its_figures_are_missing_and_not_zero(house: House) -> None:
    worker = await house.open_worker(database_url="postgresql://x:y@127.0.0.1:1/none")
    scraped = await scrape(house, worker)
    assert value(scraped, "butie_ledger_up") == 0
    assert ("butie_ledger_up", frozenset()) in scraped
    assert not [name for name, _ in scraped if name == "butie_pool_fen"]
    assert value(scraped, "butie_slo_availability_goal_ratio") == 0.999


async def test_without_a_gate_the_mode_says_so(gateless_house: House) -> None:
    scraped = await scrape(gateless_house)
    assert value(scraped, "butie_gate_mode", mode="bypassed") == 1
    assert value(scraped, "butie_gate_mode", mode="guarding") == 0


async def test_exports_are_counted_by_how_they_end(house: House) -> None:
    before = await scrape(house)
    await claim_some(house, 1)
    async with house.client("finance") as finance:
        period = {"from": "2025-06-01", "to": "2025-06-30"}
        await finance.get("/v1/exports/journal", params=period)
        after = await scrape(house)
    labels = {"format": "csv", "outcome": "whole"}
    whole = [value(scraped, "butie_exports_total", **labels) for scraped in (before, after)]
    assert whole[1] == whole[0] + 1
