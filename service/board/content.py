"""The content of the page in one language."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from service.board import chart, form
from service.board.figures import BoardFigures, PoolFigures
from service.board.words import OUTLOOKS
from service.core.forecast import Forecast
from service.core.sentences import Language

# Below these shares of 1,000 a budget is shown as running low, and as nearly used up.
LOW_PERMILLE, VERY_LOW_PERMILLE = 200, 50

FillLevel = Literal["good", "low", "very-low", "gone"]


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool's row, as text. Amounts in fen are for machines."""

    pool: str
    name: str
    level: FillLevel
    left: str
    left_fen: int
    of: str
    reserved: str
    today: str
    today_fen: int
    permille: int
    share: str
    public_share: str
    day: str
    day_on: date | None
    day_note: str
    state: str
    state_note: str


class PageContent:
    """The figures as text in one language, for the templates."""

    def __init__(self, figures: BoardFigures, language: Language, words: dict[str, str]) -> None:
        self._figures = figures
        self._language = language
        self._words = words
        self.policy = figures.policy.in_language(language) if figures.policy else words["no_policy"]
        self.time = form.clock_time(figures.at)
        self.day = form.day(figures.at.date(), figures.at.date(), language)
        self.rows = [self._row(pool) for pool in figures.pools]
        self.left_fen = sum(pool.remaining_fen for pool in figures.pools)
        self.left = self._money(self.left_fen)
        allocated_fen = sum(pool.allocated_fen for pool in figures.pools)
        self.of = self._say("of", allocated=self._money(allocated_fen))
        self.today_fen = sum(pool.today_fen for pool in figures.pools)
        self.today = self._money(self.today_fen)
        self.first = self._first()
        self.chart = chart.draw(figures.line, figures.usual_fen)
        self.hours = chart.HOURS
        self.usual = (
            self._say("usual", usual=self._money(figures.usual_fen))
            if figures.usual_fen
            else words["no_usual"]
        )
        self.chart_text = self._chart_text()

    def _row(self, pool: PoolFigures) -> PoolRow:
        left = form.permille(pool.remaining_fen, pool.allocated_fen)
        level = _level(pool, left)
        day, day_on, note = self._day(pool)
        share = f"{left // 10}.{left % 10} %"
        public_share = (
            f"{left // 10} %" if left >= 10 or level == "gone" else self._words["under_one"]
        )
        return PoolRow(
            pool=pool.pool,
            name=pool.name.in_language(self._language),
            level=level,
            left=self._money(pool.remaining_fen),
            left_fen=pool.remaining_fen,
            of=self._say("of", allocated=self._money(pool.allocated_fen)),
            reserved=self._say("reserved", reserved=self._money(pool.reserved_fen))
            if pool.reserved_fen
            else "",
            today=self._money(pool.today_fen),
            today_fen=pool.today_fen,
            permille=left,
            share=share,
            public_share=public_share,
            day=day,
            day_on=day_on,
            day_note=note,
            state=self._state(pool, level),
            state_note=self._opening("opens_public", pool),
        )

    def _state(self, pool: PoolFigures, level: str) -> str:
        if pool.forecast.outlook == "no_policy" or pool.allocated_fen <= 0:
            return self._words["closed"]
        names = {"very-low": "low", "gone": "gone"}
        return self._words[names.get(level, "open")]

    def _day(self, pool: PoolFigures) -> tuple[str, date | None, str]:
        """(the projected last day as text, that day if there is one, the text below it)."""
        forecast = pool.forecast
        opening = self._opening("opens", pool)
        if forecast.outlook == "runs_out":
            assert forecast.median_on is not None and forecast.earliest_on is not None
            return (
                self._date(forecast.median_on),
                forecast.median_on,
                self._range(forecast) or opening,
            )
        note = opening
        if forecast.outlook == "may_run_out" and forecast.earliest_on is not None:
            note = self._say("may_from", earliest=self._date(forecast.earliest_on))
        elif forecast.outlook == "lasts" and pool.ends_on is not None:
            note = self._say("ends", ends=self._date(pool.ends_on))
        return OUTLOOKS[forecast.outlook].in_language(self._language), None, note

    def _range(self, forecast: Forecast) -> str:
        assert forecast.earliest_on is not None
        earliest = self._date(forecast.earliest_on)
        if forecast.latest_on is None:
            return self._say("range_open", earliest=earliest)
        if forecast.latest_on == forecast.earliest_on:
            return self._words["range_of_one"]
        return self._say("range", earliest=earliest, latest=self._date(forecast.latest_on))

    def _opening(self, word: str, pool: PoolFigures) -> str:
        if pool.next_opens_at is None:
            return ""
        return self._say(
            word, day=self._date(pool.next_opens_at.date()), amount=self._money(pool.next_fen)
        )

    def _first(self) -> tuple[str, str]:
        """(the day on which the first pool runs out, that pool's name), as text."""
        dated = [
            (pool.forecast.median_on, pool)
            for pool in self._figures.pools
            if pool.forecast.outlook == "runs_out" and pool.forecast.median_on is not None
        ]
        if not dated:
            return self._words["nobody"], ""
        on, pool = min(dated, key=lambda dated_pool: dated_pool[0])
        return self._date(on), pool.name.in_language(self._language)

    def _chart_text(self) -> str:
        """The line in words, hour by hour."""
        sentences = [self._say("chart_text", time=f"{self._figures.at:%H:%M}", today=self.today)]
        for hour in chart.HOURS:
            so_far = [fen for at, fen in self._figures.line if at.hour < hour]
            if so_far and self._figures.at.hour >= hour:
                sentences.append(self._say("chart_at", hour=str(hour), fen=self._money(so_far[-1])))
        return ("; " if self._language == "en" else "；").join(sentences)

    def _money(self, fen: int) -> str:
        return form.money(fen, self._language)

    def _date(self, on: date) -> str:
        return form.day(on, self._figures.at.date(), self._language)

    def _say(self, word: str, **gaps: str) -> str:
        return self._words[word].format(**gaps)


def _level(pool: PoolFigures, left: int) -> FillLevel:
    if pool.remaining_fen <= 0:
        return "gone"
    if left < VERY_LOW_PERMILLE:
        return "very-low"
    return "low" if left < LOW_PERMILLE else "good"
