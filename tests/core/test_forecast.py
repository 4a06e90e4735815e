"""The day a pool runs out, for histories of which the answer is known."""

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.calendar import SHANGHAI
from service.core.forecast import BurnDay, Forecast, Opening
from tests.core.histories import (
    LEVEL_FEN,
    PLENTY_FEN,
    TODAY,
    WEEKEND,
    Burn,
    day_of,
    forecast_of,
    history,
)


def dates(found: Forecast) -> tuple[date | None, date | None, date | None]:
    return found.earliest_on, found.median_on, found.latest_on


def day(after: int) -> date:
    return TODAY + timedelta(days=after)


STEADY = {
    "constant": Burn(),
    "weekdays": Burn(week=WEEKEND),
    "closed on Sundays": Burn(week=(7 / 6,) * 6 + (0,)),
}


@pytest.mark.parametrize("lasts", [0, 1, 5, 20, 61, 150])
@pytest.mark.parametrize("name", STEADY)
def test_what_burns_as_ever_runs_out_to_the_day(name: str, lasts: int) -> None:
    burn = STEADY[name]
    budget_fen = burn.lasting(lasts)
    found = forecast_of(budget_fen, burn.days(56))
    known = day_of(burn.ahead(200), budget_fen)
    assert (found.outlook, found.median_on) == ("runs_out", known)
    assert found.earliest_on is not None and found.latest_on is not None
    assert found.earliest_on <= known <= found.latest_on
    assert (found.latest_on - found.earliest_on).days <= 1 + lasts // 8


@pytest.mark.parametrize("slope", [0.01, -0.008])
@pytest.mark.parametrize("week", [STEADY["constant"].week, WEEKEND])
def test_growth_and_decline_are_carried_on(slope: float, week: tuple[float, ...]) -> None:
    burn = Burn(slope=slope, week=week)
    budget_fen = burn.lasting(25)
    found = forecast_of(budget_fen, burn.days(56))
    known = day_of(burn.ahead(200), budget_fen)
    assert known is not None and found.median_on is not None
    assert abs((found.median_on - known).days) <= 1
    as_ever = forecast_of(budget_fen, Burn(week=week).days(56))
    assert as_ever.median_on is not None
    assert (found.median_on < as_ever.median_on) == (slope > 0)


def test_weekend_money_goes_on_the_weekend() -> None:
    """On a Wednesday with four weekdays' money left it is gone on Saturday, not on Sunday."""
    week = (0.5, 0.5, 0.5, 0.5, 0.5, 2.0, 2.5)
    found = forecast_of(round(2.5 * LEVEL_FEN), Burn(week=week).days(56))
    assert found.median_on == date(2025, 6, 21)


@pytest.mark.parametrize("days", [1, 2, 3])
def test_a_short_history_gives_a_wide_range_around_what_it_says(days: int) -> None:
    budget_fen = Burn().lasting(30)
    short, long = (
        forecast_of(budget_fen, Burn().days(days)),
        forecast_of(budget_fen, [LEVEL_FEN] * 56),
    )
    assert (short.days, short.daily_fen, short.median_on) == (days, LEVEL_FEN, day(30))
    assert short.earliest_on is not None and long.earliest_on is not None
    assert short.earliest_on < long.earliest_on
    assert short.latest_on is None or long.latest_on is None or short.latest_on > long.latest_on
    assert days > 1 or short.latest_on is None


def test_without_a_whole_day_nothing_is_foretold() -> None:
    assert forecast_of(10**9, [], today_fen=5_000) == Forecast("too_early", None, None, None, 0, 0)
    assert forecast_of(10**9, [], today_fen=0).outlook == "idle"


def test_a_pool_that_nobody_takes_from_lasts() -> None:
    assert forecast_of(10**9, [0] * 40).outlook == "idle"
    more_back = forecast_of(10**9, [5_000, -9_000, 4_000, -1_000])
    assert (more_back.outlook, *dates(more_back)) == ("idle", None, None, None)
    assert more_back.daily_fen < 0


def test_an_empty_pool_is_out_today_whatever_is_planned() -> None:
    planned = [Opening(day(3), 10**9)]
    for remaining_fen in (0, -1):
        found = forecast_of(remaining_fen, [LEVEL_FEN] * 9, openings=planned)
        assert (found.outlook, *dates(found)) == ("empty", TODAY, TODAY, TODAY)


def test_what_lasts_to_the_policys_end_is_no_date() -> None:
    found = forecast_of(Burn().lasting(60), [LEVEL_FEN] * 56, ends_on=day(30))
    assert (found.outlook, *dates(found)) == ("lasts", None, None, None)
    maybe = forecast_of(Burn().lasting(60), Burn(noise=0.5).days(56), ends_on=day(50))
    assert maybe.outlook == "may_run_out"
    assert maybe.earliest_on is not None and maybe.median_on is None


@pytest.mark.parametrize("ends_on", [None, day(-1)])
def test_without_a_policy_there_is_no_forecast(ends_on: date | None) -> None:
    assert forecast_of(1, [LEVEL_FEN] * 9, ends_on=ends_on).outlook == "no_policy"


def test_a_tranche_counts_from_the_day_it_opens() -> None:
    ten_days_fen = Burn().lasting(10)
    in_time = forecast_of(ten_days_fen, [LEVEL_FEN] * 56, openings=[Opening(day(9), 5 * LEVEL_FEN)])
    assert in_time.median_on == day(15)
    too_late = forecast_of(ten_days_fen, [LEVEL_FEN] * 56, openings=[Opening(day(11), 10**12)])
    assert too_late.median_on == day(10)


def test_days_that_the_budget_cut_short_do_not_count_as_quiet() -> None:
    """Ten days of plenty, nine without money, then a tranche: demand is as it was."""
    days = history([LEVEL_FEN] * 10 + [0] * 9)
    days = [one if one.burn_fen else BurnDay(one.on, 0, 400) for one in days]
    found = forecast_of(Burn().lasting(8), days=days)
    assert (found.median_on, found.daily_fen, found.days) == (day(8), LEVEL_FEN, 10)


def test_quiet_days_before_the_first_sale_do_not_count() -> None:
    found = forecast_of(Burn().lasting(8), [0] * 30 + [LEVEL_FEN] * 10)
    assert (found.median_on, found.days) == (day(8), 10)


def test_the_rest_of_today_follows_the_clock() -> None:
    """With a third of a day's money left it is gone today, unless the shops are closing."""
    third_fen = LEVEL_FEN // 3
    noon = datetime(2025, 6, 18, 12, 0, tzinfo=SHANGHAI)
    evening = datetime(2025, 6, 18, 19, 0, tzinfo=SHANGHAI)
    at_noon = forecast_of(third_fen, [LEVEL_FEN] * 56, at=noon, today_fen=LEVEL_FEN // 4)
    at_night = forecast_of(third_fen, [LEVEL_FEN] * 56, at=evening, today_fen=5 * LEVEL_FEN // 6)
    assert (at_noon.median_on, at_night.median_on) == (TODAY, day(1))


def test_a_rush_today_brings_the_day_forward() -> None:
    evening = datetime(2025, 6, 18, 20, 0, tzinfo=SHANGHAI)
    budget_fen = Burn().lasting(20)
    calm = forecast_of(budget_fen, [LEVEL_FEN] * 7, at=evening, today_fen=LEVEL_FEN)
    rush = forecast_of(budget_fen, [LEVEL_FEN] * 7, at=evening, today_fen=4 * LEVEL_FEN)
    assert rush.median_on is not None and calm.median_on is not None
    assert rush.median_on < calm.median_on


# --- the range means what it says -------------------------------------------------------


NOISY = {
    "calm": Burn(noise=0.2),
    "weekdays": Burn(noise=0.2, week=WEEKEND),
    "rough": Burn(noise=0.6, week=WEEKEND),
    "growing": Burn(noise=0.2, slope=0.005),
    "shrinking": Burn(noise=0.2, slope=-0.005),
    "a few sales a day": Burn(sales_a_day=3),
    "a few sales a week": Burn(sales_a_day=0.4),
}


def cover(burn: Burn, days: int, lasts: int, count: int) -> list[int]:
    """How many of so many histories run out before, in and after the range."""
    found = [0, 0, 0]
    budget_fen = burn.lasting(lasts)
    for seed in range(count):
        made = forecast_of(budget_fen, burn.days(days, seed))
        known = day_of(burn.ahead(8 * lasts + 60, seed), budget_fen) or date.max
        too_soon = known < (made.earliest_on or date.max)
        too_late = known > (made.latest_on or date.max)
        found[0 if too_soon else 2 if too_late else 1] += 1
    return found


@pytest.mark.parametrize("lasts", [4, 25])
@pytest.mark.parametrize("name", NOISY)
def test_eight_of_ten_pools_run_out_in_the_range(name: str, lasts: int) -> None:
    """Of 300 histories, of two, four and eight weeks, each going on as it began."""
    parts = [cover(NOISY[name], days, lasts, 100) for days in (14, 28, 56)]
    before, within, after = (sum(part) for part in zip(*parts, strict=True))
    assert within >= 0.75 * 300
    assert before <= 0.16 * 300
    assert after <= 0.16 * 300


def test_the_range_is_no_wider_than_it_must_be() -> None:
    """Eight weeks of calm burn tell a month ahead to within some days."""
    made = [forecast_of(Burn().lasting(30), Burn(noise=0.2).days(56, seed)) for seed in range(50)]
    widths = sorted((one.latest_on - one.earliest_on).days for one in made)  # type: ignore[operator]
    assert widths[25] <= 8
    assert sum(cover(Burn(noise=0.2), 56, 30, 200)[::2]) >= 0.05 * 200


# --- what holds for every history -------------------------------------------------------

FEN = st.integers(-(10**9), 10**11)
HISTORIES = st.lists(FEN, max_size=70)
MONEY = st.integers(-1_000, 10**12)
OPENINGS = st.lists(
    st.builds(Opening, st.integers(-2, 80).map(day), st.integers(1, 10**12)), max_size=3
)
INSTANTS = st.integers(0, 1439).map(
    lambda minutes: datetime(2025, 6, 18, tzinfo=SHANGHAI) + timedelta(minutes=minutes)
)
ENDS = day(90)


def as_sequence(found: Forecast) -> list[date]:
    return [one or date.max for one in dates(found)]


@given(HISTORIES, MONEY, st.integers(0, 10**12), OPENINGS, FEN, INSTANTS)
def test_more_money_never_runs_out_sooner(
    burn_fen: list[int],
    budget_fen: int,
    more_fen: int,
    openings: list[Opening],
    today_fen: int,
    at: datetime,
) -> None:
    def asked(fen: int) -> list[date]:
        made = forecast_of(
            fen, burn_fen, openings=openings, today_fen=today_fen, at=at, ends_on=ENDS
        )
        return as_sequence(made)

    less, more = asked(budget_fen), asked(budget_fen + more_fen)
    assert all(one <= other for one, other in zip(less, more, strict=True))


@given(HISTORIES, MONEY, OPENINGS, st.builds(Opening, st.just(day(5)), st.integers(1, 10**12)))
def test_one_tranche_more_never_runs_out_sooner(
    burn_fen: list[int], budget_fen: int, openings: list[Opening], more: Opening
) -> None:
    without = forecast_of(budget_fen, burn_fen, openings=openings, ends_on=ENDS)
    with_it = forecast_of(budget_fen, burn_fen, openings=[*openings, more], ends_on=ENDS)
    pairs = zip(as_sequence(without), as_sequence(with_it), strict=True)
    assert all(one <= other for one, other in pairs)


@given(HISTORIES, MONEY, OPENINGS, FEN, INSTANTS)
def test_the_days_are_in_order_and_before_the_end(
    burn_fen: list[int], budget_fen: int, openings: list[Opening], today_fen: int, at: datetime
) -> None:
    made = forecast_of(
        budget_fen, burn_fen, openings=openings, today_fen=today_fen, at=at, ends_on=ENDS
    )
    assert as_sequence(made) == sorted(as_sequence(made))
    assert all(TODAY <= one <= ENDS for one in dates(made) if one)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=70), st.integers(1, 10**11))
def test_yuan_and_fen_give_the_same_day(burn_fen: list[int], budget_fen: int) -> None:
    """What is ten thousand times as large burns as long, to within the rounding of a day."""
    small = as_sequence(forecast_of(budget_fen, burn_fen, ends_on=ENDS))
    large = as_sequence(
        forecast_of(budget_fen * 10_000, [fen * 10_000 for fen in burn_fen], ends_on=ENDS)
    )
    for one, other in zip(small, large, strict=True):
        assert abs(min(one, ENDS).toordinal() - min(other, ENDS).toordinal()) <= 1


def test_plenty_is_no_end() -> None:
    assert forecast_of(PLENTY_FEN, [1] * 56).outlook == "lasts"
