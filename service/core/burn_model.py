"""How a budget burns: level, weekday, trend and noise, fitted to a history of days.

A linear model with priors, so that one formula serves one day of history and eight weeks. With
y the burn of day t (today is 0) and s the share of its weekday:

    y = s (level + slope t) + noise

The noise's variance and the uncertainty of level and slope together make the variance of any
sum of days to come. All of it is whole numbers and fractions: no float, and no square root.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

# --- priors, as shares of the level -----------------------

# Burn may grow or shrink by this much a day (one standard deviation): 15 % a month.
SLOPE_SD = Fraction(8, 1000)
# A weekday may differ by this much from the others.
WEEKDAY_SD = Fraction(1, 2)
# A day may differ by this much from what was expected; worth one day of history.
NOISE_SD = Fraction(1, 2)
NOISE_PRIOR_DAYS = 1

# A weekday pattern is fitted once each weekday can have been seen twice.
PATTERN_DAYS = 14

# A trend is extrapolated for four weeks and then held.
TREND_DAYS = 28

# The 90 % point of Student's t, in thousandths, by degrees of freedom: the noise itself is
# estimated from few days. Between two rows the one with fewer degrees holds.
T90 = {
    1: 3078, 2: 1886, 3: 1638, 4: 1533, 5: 1476, 6: 1440, 7: 1415, 8: 1397, 9: 1383, 10: 1372,
    12: 1356, 15: 1341, 20: 1325, 30: 1310, 60: 1296, 120: 1289,
}  # fmt: skip


# Shares and parts of days are counted in thousandths, the burn to come in millionths of a fen.
WHOLE = 1000
MICRO = 10**6


@dataclass(frozen=True, slots=True)
class Point:
    """A day of history: `at` days from today, its weekday (Monday is 0), its burn; `passed` is
    how many thousandths of the day have passed."""

    at: int
    weekday: int
    burn_fen: int
    passed: int = WHOLE


@dataclass(frozen=True, slots=True)
class Reach:
    """The burn of all days up to some day, in millionths of a fen: its mean, and the square of
    the distance that it passes upwards in one of ten cases, and stays below in another."""

    mean: int
    tenth_squared: int

    def reaches(self, need_fen: int) -> tuple[bool, bool, bool]:
        """Whether `need_fen` is burnt by then with 10, 50 and 90 % probability."""
        over = self.mean - need_fen * MICRO
        far = over * over >= self.tenth_squared
        return over >= 0 or not far, over >= 0, over >= 0 and far


@dataclass(frozen=True, slots=True)
class Model:
    """`level` and `slope` are fen for each thousandth of a weekday's share; `variance` is the
    noise's of a day, in fen squared; the rest is the covariance of level and slope over it."""

    shares: Sequence[int]
    level: Fraction
    slope: Fraction
    variance: Fraction
    of_level: Fraction
    of_both: Fraction
    of_slope: Fraction
    t90: int

    def ahead(self, weekday: int, to_come: int) -> Iterator[Reach]:
        """The cumulative burn up to the end of today, then of tomorrow, and so on without end.
        `to_come` is what is left of today, in thousandths."""
        level, slope = round(self.level * MICRO), round(self.slope * MICRO)
        squares = [
            round(Fraction(weight * self.variance * self.t90**2 * MICRO**2, WHOLE**2))
            for weight in (self.of_level, 2 * self.of_both, self.of_slope, Fraction(1, WHOLE))
        ]
        mean = days = level_weight = slope_weight = 0
        for after in count():
            left = to_come if after == 0 else WHOLE
            share = self.shares[(weekday + after) % 7] * left // WHOLE
            trend = min(after, TREND_DAYS)
            mean += max(0, share * (level + slope * trend))
            days += left
            level_weight += share
            slope_weight += share * trend
            weights = (level_weight**2, level_weight * slope_weight, slope_weight**2, days)
            yield Reach(mean, sum(a * b for a, b in zip(squares, weights, strict=True)))


def weekday_shares(days: Sequence[Point]) -> list[int]:
    """Each weekday's share of a usual day, in thousandths, Monday first; 1,000 each while the
    history is short. The shares are shrunk by what noise alone could explain."""
    if len(days) < PATTERN_DAYS:
        return [WHOLE] * 7
    line = fit(days, [WHOLE] * 7)
    level, slope = round(line.level * WHOLE), round(line.slope * WHOLE)
    least = max(1, sum(day.burn_fen for day in days) // len(days) // 10)
    by_weekday: dict[int, list[int]] = {}
    for day in days:
        expected = max(level + slope * day.at, least)
        by_weekday.setdefault(day.weekday, []).append(day.burn_fen * WHOLE // expected)
    spread = sum((_spread(seen) for seen in by_weekday.values()), Fraction(0))
    spared = (len(days) - len(by_weekday)) * (WEEKDAY_SD * WHOLE) ** 2
    doubt = Fraction(spread, spared)
    return [_share(by_weekday.get(weekday, []), doubt) for weekday in range(7)]


def _spread(seen: Sequence[int]) -> Fraction:
    return sum(burn * burn for burn in seen) - Fraction(sum(seen) ** 2, len(seen))


def _share(seen: Sequence[int], doubt: Fraction) -> int:
    """`doubt` is how many days of a usual weekday stand against those that were seen."""
    weight = len(seen) + doubt
    return max(0, round(Fraction(sum(seen) + doubt * WHOLE, weight))) if weight else WHOLE


def fit(points: Sequence[Point], shares: Sequence[int]) -> Model:
    """Level, slope and noise of a history that has burnt something."""
    rows = [(shares[p.weekday] * p.passed // WHOLE, p.at, p.burn_fen) for p in points]
    days = sum(p.passed for p in points) // WHOLE
    s_s = sum(s * s for s, _, _ in rows)
    s_st = sum(s * s * t for s, t, _ in rows)
    st_st = sum(s * s * t * t for s, t, _ in rows)
    s_y = sum(s * y for s, _, y in rows)
    st_y = sum(s * t * y for s, t, y in rows)

    level, slope = Fraction(s_y, s_s), Fraction(0)
    usual = max(level, Fraction(1, WHOLE))  # what is plausible is a part of this
    prior = NOISE_PRIOR_DAYS * (NOISE_SD * usual * WHOLE) ** 2
    # Trend and noise depend on each other: two iterations suffice.
    for _ in range(2):
        noise = Fraction(prior + _missed(rows, level, slope), NOISE_PRIOR_DAYS + days - 1)
        held = st_st + Fraction(noise, (SLOPE_SD * usual) ** 2)
        determinant = s_s * held - s_st**2
        level = Fraction(held * s_y - s_st * st_y, determinant)
        slope = Fraction(s_s * st_y - s_st * s_y, determinant)

    fitted = 1 if len(set(shares)) == 1 else 7
    freedom = max(1, NOISE_PRIOR_DAYS + days - fitted)
    return Model(
        shares=shares,
        level=level,
        slope=slope,
        variance=Fraction(prior + _missed(rows, level, slope), freedom),
        of_level=Fraction(held, determinant),
        of_both=Fraction(-s_st, determinant),
        of_slope=Fraction(s_s, determinant),
        t90=T90[max(row for row in T90 if row <= freedom)],
    )


def _missed(rows: Sequence[tuple[int, int, int]], level: Fraction, slope: Fraction) -> Fraction:
    """The sum of squares of what level and slope leave unexplained."""
    a, b = round(level * MICRO), round(slope * MICRO)
    return Fraction(sum((y * MICRO - s * (a + b * t)) ** 2 for s, t, y in rows), MICRO**2)
