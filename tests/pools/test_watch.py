"""What the watch reads of the burn is what the journal says, and its forecast is the metrics'."""

import asyncio
from datetime import date, datetime, timedelta
from math import inf, isnan

import pytest
from prometheus_client import REGISTRY

from service.core.calendar import SHANGHAI
from service.db.engine import LedgerAway
from service.finance.journal.closing import closes_at
from service.pools.burn import PoolBurn, reading_due
from service.pools.watch import BudgetView, BudgetWatch, last_day
from tests.conftest import NOW, House
from tests.finance.books import PLACE, TODAY, claim_some, close, refund

pytestmark = pytest.mark.anyio

LATER = TODAY + timedelta(days=12)


class StoppedClock:
    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    def now(self) -> datetime:
        return self.instant


def watch_at(house: House, instant: datetime) -> BudgetWatch:
    service = house.service
    return BudgetWatch(service.engine, service.reports, service.book, StoppedClock(instant))  # type: ignore[arg-type]


def at(day: date, hour: int = 10, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=SHANGHAI)


def of(view: BudgetView, pool: str) -> PoolBurn:
    return next(burn for burn in view.pools if burn.pool == pool)


async def book(house: House, day: date, pool: str, fen: int) -> None:
    """Book a grant (negative: a refund) on a day, and change the pool, as a claim does."""
    await house.sql(
        "WITH entry AS (INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool,"
        " amount_fen, claim_id, line_no) VALUES ($1, $2, booking_day($1, $3), $4, $5, $6,"
        " gen_random_uuid(), 1))"
        " UPDATE pool SET confirmed_fen = confirmed_fen + $6 WHERE pool = $5",
        PLACE,
        "grant" if fen > 0 else "refund",
        day,
        at(day),
        pool,
        fen,
    )


async def burn_days(house: House, pool: str, days: int, fen: int) -> None:
    for after in range(days):
        await book(house, TODAY + timedelta(days=after), pool, fen)
    await close(house, TODAY + timedelta(days=days - 1))


async def test_a_claim_is_todays_burn_and_a_closed_day_is_history(house: House) -> None:
    ids = await claim_some(house, 3)
    subsidy_fen = (await house.sql("SELECT sum(amount_fen) FROM journal WHERE kind = 'grant'"))[0][
        0
    ]
    view = await house.service.pools.watch.run_once()
    assert (of(view, "appliances").today_fen, of(view, "appliances").days) == (subsidy_fen, [])
    assert view.forecasts["appliances"].forecast.outlook == "too_early"
    assert view.forecasts["cars"].forecast.outlook == "idle"
    await refund(house, ids[0])
    await house.sql(
        "UPDATE pool SET confirmed_fen = (SELECT sum(amount_fen) FROM journal"
        " WHERE kind <> 'allocation') WHERE pool = 'appliances'"
    )
    await close(house)
    view = await watch_at(house, at(TODAY + timedelta(days=1))).run_once()
    (day,) = of(view, "appliances").days
    (net_fen,) = (
        await house.sql("SELECT sum(amount_fen) FROM journal WHERE kind <> 'allocation'")
    )[0]
    assert (day.on, day.burn_fen, of(view, "appliances").today_fen) == (TODAY, net_fen, 0)
    assert 0 < day.burn_fen < subsidy_fen
    assert day.left_fen == of(view, "appliances").remaining_fen


async def test_every_closed_day_is_added_up_once_and_ties_with_the_journal(house: House) -> None:
    for after in range(10):  # more than one statement fills
        for pool in ("cars", "digital"):
            await book(house, TODAY + timedelta(days=after), pool, 1_000 + after)
    await book(house, TODAY + timedelta(days=4), "cars", -500)
    await house.sql(
        "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
        " document_no) VALUES ($1, 'allocation', $2, now(), 'cars', 70, 'D')",
        PLACE,
        TODAY + timedelta(days=2),
    )
    await close(house, TODAY + timedelta(days=9))
    watch = watch_at(house, at(TODAY + timedelta(days=10)))
    view = await watch.run_once()
    assert [day.burn_fen for day in of(view, "cars").days] == [
        1_000 + after - (500 if after == 4 else 0) for after in range(10)
    ]
    stood = await house.sql(
        "SELECT pool_day.* FROM pool_day LEFT JOIN LATERAL ("
        " SELECT sum(amount_fen) FILTER (WHERE kind = 'allocation') AS allocated,"
        " sum(amount_fen) FILTER (WHERE kind <> 'allocation') AS confirmed FROM journal"
        " WHERE journal.pool = pool_day.pool AND booked_on <= day) AS known ON true"
        " WHERE allocated_fen <> coalesce(allocated, 0) OR confirmed_fen <> coalesce(confirmed, 0)"
    )
    assert stood == []
    assert (await house.sql("SELECT count(*) FROM pool_day"))[0][0] == 10 * 6
    await house.sql("DELETE FROM pool_day WHERE day > $1", TODAY + timedelta(days=5))
    again = await watch.run_once()
    assert of(again, "cars").days == of(view, "cars").days


async def test_no_entry_is_read_for_a_look(house: House) -> None:
    """With the journal out of reach the burn is answer as before."""
    await burn_days(house, "cars", 3, 5_000)
    watch = watch_at(house, at(TODAY + timedelta(days=3)))
    view = await watch.run_once()
    await house.sql("ALTER TABLE journal RENAME TO journal_away")
    assert of(await watch.run_once(), "cars").days == of(view, "cars").days
    await house.sql("ALTER TABLE journal_away RENAME TO journal")


async def test_a_forecast_is_the_metrics_and_more_money_moves_it(house: House) -> None:
    await burn_days(house, "cars", 12, 50_000_000)  # of 1,500,000,000
    watch = watch_at(house, at(LATER, 8))
    made = (await watch.run_once()).forecasts["cars"]
    assert made.ends_on == date(2025, 12, 31)
    assert made.forecast.outlook == "runs_out"
    assert made.forecast.median_on == LATER + timedelta(days=17)  # 18 days' money, today included

    def shown(pool: str, quantile: str) -> float | None:
        labels = {"pool": pool, "quantile": quantile}
        return REGISTRY.get_sample_value("butie_forecast_exhausted_timestamp_seconds", labels)

    assert shown("cars", "0.5") == at(LATER + timedelta(days=17), 0).timestamp()
    days = (made.forecast.earliest_on, made.forecast.latest_on)
    assert [shown("cars", "0.1"), shown("cars", "0.9")] == [
        at(day, 0).timestamp() for day in days if day
    ]
    assert shown("home", "0.5") == inf
    await book(house, LATER, "digital", 1)
    await house.set_budget("cars", 15_000_000_000)
    assert (await watch.run_once()).forecasts["cars"].forecast.outlook == "lasts"
    assert shown("cars", "0.5") == inf
    too_early = shown("digital", "0.5")
    assert too_early is not None and isnan(too_early)


async def test_the_api_tells_the_forecast_that_the_metrics_show(house: House) -> None:
    """After twelve days of burn, and not before a whole one."""
    async with house.client("bureau") as bureau, house.client("pos") as till:
        early = (await bureau.get("/v1/budgets/cars/forecast")).json()
        assert (early["outlook"], early["days"], early["median_on"]) == ("idle", 0, None)
        await burn_days(house, "cars", 12, 50_000_000)
        watch = watch_at(house, at(LATER, 8))
        made = (await watch.run_once()).forecasts["cars"].forecast
        object.__setattr__(house.service.pools, "watch", watch)
        answer = (await bureau.get("/v1/budgets/cars/forecast")).json()
        assert (await bureau.get("/v1/budgets/nope/forecast")).status_code == 404
        assert (await till.get("/v1/budgets/cars/forecast")).status_code == 403
    assert answer == {
        "pool": "cars",
        "made_at": "2025-06-30T08:00:00+08:00",
        "outlook": "runs_out",
        "earliest_on": str(made.earliest_on),
        "median_on": str(made.median_on),
        "latest_on": str(made.latest_on),
        "ends_on": "2025-12-31",
        "daily_fen": 50_000_000,
        "days": 12,
    }


async def test_without_a_ledger_a_look_is_the_last_one_or_a_503(house: House) -> None:
    worker = await house.open_worker(database_url="postgresql://x:y@127.0.0.1:1/none")
    watch = worker.state.service.pools.watch
    with pytest.raises(LedgerAway):
        await watch.view()
    assert watch.last is None
    async with house.client("bureau", app=worker) as bureau:
        assert (await bureau.get("/v1/budgets/cars/forecast")).status_code == 503


async def test_however_many_look_the_ledger_is_asked_once(house: House) -> None:
    await house.service.pools.watch.run_once()
    watch = watch_at(house, NOW)
    views = await asyncio.gather(*(watch.view() for _ in range(200)))
    assert len({id(view) for view in views}) == 1
    assert await watch.view() is views[0]


async def test_yesterday_and_today_are_told_apart_before_yesterday_closes(house: House) -> None:
    midnight = at(TODAY + timedelta(days=1), 0)
    await book(house, TODAY, "cars", 7_000)
    await watch_at(house, midnight + timedelta(seconds=2)).run_once()
    await book(house, TODAY + timedelta(days=1), "cars", 400)
    view = await watch_at(house, midnight + timedelta(minutes=10)).run_once()
    assert (of(view, "cars").today_fen, of(view, "cars").days) == (400, [])
    assert [point.fen for point in of(view, "cars").line] == [0, 400]
    await close(house)
    view = await watch_at(house, closes_at(TODAY)).run_once()
    assert (of(view, "cars").today_fen, of(view, "cars").days[0].burn_fen) == (400, 7_000)


async def test_readings_are_taken_every_five_minutes_by_whoever_comes_first(house: House) -> None:
    assert reading_due(at(TODAY, 10, 14)) == at(TODAY, 10, 10)
    for minute in (0, 1, 4, 5, 9):
        await watch_at(house, at(TODAY, 12, minute)).run_once()
    # The service's own watch, two hours earlier, takes some as well.
    moments = "SELECT DISTINCT at FROM pool_reading WHERE at >= $1 ORDER BY at"
    read = await house.sql(moments, at(TODAY, 12))
    assert [row["at"] for row in read] == [at(TODAY, 12, 0), at(TODAY, 12, 5)]
    await watch_at(house, at(LATER)).run_once()
    assert [row["at"] for row in await house.sql(moments, at(TODAY, 12))] == [at(LATER)]


async def test_the_policys_last_day_is_the_pools(house: House) -> None:
    book_ = house.service.book
    assert last_day(book_, "digital", NOW.date()) == date(2025, 12, 31)
    assert last_day(book_, "digital", date(2024, 6, 1)) is None
    assert last_day(book_, "home", date(2026, 6, 1)) is None
