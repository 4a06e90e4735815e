"""The replay as a picture: an SVG that needs no script, font or network. The same sums give the
same bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from service.replay.period import ReplayPeriod
from service.replay.tally import Cell, ReplayTally, extremes
from service.replay.words import REASONS, UNSEEN, Names, grade_name

WIDTH = 1200
MARGIN = 40
GAP = 40
HALF = (WIDTH - 2 * MARGIN - GAP) // 2
ROW = 26
HEAD = 46  # a panel's two lines of heading
MONTHS_HEIGHT = 240
BARS_MAX = 8
EXTREMES_MAX = 6

BOOKED, REPLAYED, GAIN, LOSS = "#98a2b3", "#1f6feb", "#1a7f37", "#cf222e"
INK, FAINT, RULE = "#1f2328", "#59636e", "#d1d9e0"

_STYLE = (
    f"text{{font-family:system-ui,'Noto Sans SC','Microsoft YaHei','PingFang SC',sans-serif;"
    f"fill:{INK};font-size:13px}}"
    f".t{{font-size:24px;font-weight:600}}.h{{font-size:15px;font-weight:600}}"
    f".n{{font-size:21px;font-weight:600}}.f{{fill:{FAINT};font-size:12px}}"
    f".b{{fill:{REPLAYED};font-size:12px}}"
    f".r{{fill:{LOSS};font-size:12px}}"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit for amounts, by the largest of them."""

    fen: int
    zh: str
    en: str

    def text(self, fen: int) -> str:
        """One decimal, rounded half up."""
        tenths = (abs(fen) * 10 + self.fen // 2) // self.fen
        sign = "-" if fen < 0 and tenths else ""
        return f"{sign}{tenths // 10:,}.{tenths % 10}"

    def signed(self, fen: int) -> str:
        return f"+{self.text(fen)}" if fen > 0 else self.text(fen)


_UNITS = (
    Unit(10_000_000_000, "亿元", "100 million yuan"),
    Unit(1_000_000, "万元", "10,000 yuan"),
    Unit(100, "元", "yuan"),
)


def unit_of(largest_fen: int) -> Unit:
    """The largest unit that the amount has ten of."""
    return next((unit for unit in _UNITS if largest_fen >= 10 * unit.fen), _UNITS[-1])


def picture(tally: ReplayTally, names: Names, period: ReplayPeriod, varied: Sequence[str]) -> bytes:
    """The whole file. `varied`: what was changed on the command line."""
    total = tally.total
    unit = unit_of(max(total.subsidy_fen, total.booked_fen))
    panels = [
        _months(tally, unit),
        _schemes(tally, names, unit),
        _reasons(total),
        _grades(tally, unit),
        _changes(tally, names, unit),
        _retailers(tally, unit),
    ]
    body, y = [], 220
    for left, right in zip(panels[::2], panels[1::2], strict=True):
        body.append(f'<g transform="translate({MARGIN} {y})">{left.svg}</g>')
        body.append(f'<g transform="translate({MARGIN + HALF + GAP} {y})">{right.svg}</g>')
        y += max(left.height, right.height) + GAP
    head = _head(tally, names, period, varied, unit)
    foot = _text(MARGIN, y, UNSEEN[0], "f") + _text(MARGIN, y + 18, UNSEEN[1], "f")
    height = y + 18 + MARGIN
    title = f"{names.policy.id}, {period.first} – {period.last}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" lang="zh">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        f"{head}{''.join(body)}{foot}</svg>\n"
    ).encode()


@dataclass(frozen=True, slots=True)
class _Panel:
    svg: str
    height: int


def _head(
    tally: ReplayTally, names: Names, period: ReplayPeriod, varied: Sequence[str], unit: Unit
) -> str:
    total, policy = tally.total, names.policy
    years = "year" if abs(period.years) == 1 else "years"
    later = f"，每笔销售按 {period.years:+d} 年计 · each sale moved by {period.years:+d} {years}"
    moved = later if period.years else ""
    tiles = (
        ("批准 granted, lines", f"{total.granted:,}"),
        ("不予补贴 refused, lines", f"{total.refused.total():,}"),
        (f"推演补贴 subsidy, {unit.zh}", unit.text(total.subsidy_fen)),
        (f"账上补贴 ledger, {unit.zh}", unit.text(total.booked_fen)),
        (f"相差 difference, {unit.zh}", unit.signed(total.difference_fen)),
        (f"带动销售额 sales, {unit.zh}", unit.text(total.sales_fen)),
    )
    each = (WIDTH - 2 * MARGIN) // len(tiles)
    return (
        _text(MARGIN, 58, f"政策推演：{policy.zh}", "t")
        + _text(MARGIN, 84, f"Replay: {policy.en} ({policy.id})")
        + _text(MARGIN, 106, f"销售日 days of sale {period.first} – {period.last}{moved}", "f")
        + _text(MARGIN, 124, _short("  ".join(varied), 160), "f")
        + "".join(
            _text(MARGIN + at * each, 156, label, "f") + _text(MARGIN + at * each, 182, text, "n")
            for at, (label, text) in enumerate(tiles)
        )
        + _line(MARGIN, 200, WIDTH - MARGIN, 200)
    )


def _months(tally: ReplayTally, unit: Unit) -> _Panel:
    cells = tally.by(lambda key: key.month)
    parts = [_heading("按月补贴", f"subsidy by month, {unit.en}"), _legend()]
    high = max([1, *(max(cell.subsidy_fen, cell.booked_fen) for cell in cells.values())])
    ground, room = HEAD + MONTHS_HEIGHT - 40, MONTHS_HEIGHT - 80
    step = HALF // max(len(cells), 1)
    bar = max(min(step // 3, 30), 2)
    every = 1 + (len(cells) - 1) // 12  # a label each, as far as there is room
    for at, (month, cell) in enumerate(cells.items()):
        x = at * step + (step - 2 * bar) // 2
        for shift, fen, colour in ((0, cell.booked_fen, BOOKED), (bar, cell.subsidy_fen, REPLAYED)):
            tall = fen * room // high
            parts.append(_rect(x + shift, ground - tall, bar - 1, tall, colour))
        if at % every == 0:
            middle = x + bar
            parts.append(_text(middle, ground + 17, f"{month:%Y-%m}", "f", "middle"))
            top = ground - max(cell.booked_fen, cell.subsidy_fen) * room // high
            parts.append(_text(middle, top - 6, unit.text(cell.subsidy_fen), "b", "middle"))
    parts.append(_line(0, ground, HALF, ground))
    return _Panel("".join(parts), HEAD + MONTHS_HEIGHT)


def _schemes(tally: ReplayTally, names: Names, unit: Unit) -> _Panel:
    cells = tally.by(lambda key: key.scheme)
    parts = [_heading("按补贴类别", f"subsidy by scheme, {unit.en}")]
    high = max([1, *(max(cell.subsidy_fen, cell.booked_fen) for cell in cells.values())])
    for at, (scheme, cell) in enumerate(cells.items()):
        y = HEAD + at * 44
        zh, en = names.scheme(scheme)
        parts += [_text(0, y + 14, zh), _text(0, y + 30, _short(en, 22), "f")]
        for shift, fen, colour in ((4, cell.booked_fen, BOOKED), (18, cell.subsidy_fen, REPLAYED)):
            wide = max(fen, 0) * 200 // high
            parts.append(_rect(165, y + shift, wide, 12, colour))
            parts.append(_text(171 + wide, y + shift + 11, unit.text(fen), "f"))
        pool = tally.pools.get(scheme)
        if pool and pool.ran_out_on:
            parts.append(_text(HALF, y + 14, f"{pool.ran_out_on} 用完", "r", "end"))
            parts.append(_text(HALF, y + 30, "ran out", "r", "end"))
    return _Panel("".join(parts), HEAD + len(cells) * 44)


def _reasons(total: Cell) -> _Panel:
    ranked = sorted(total.refused.items(), key=lambda entry: (-entry[1], entry[0]))[:BARS_MAX]
    rows = [(REASONS[code], lines, f"{lines:,}") for code, lines in ranked if lines]
    return _bars("不予补贴原因", "refused, lines by first reason", rows, LOSS)


def _grades(tally: ReplayTally, unit: Unit) -> _Panel:
    cells = tally.by(lambda key: key.grade)
    rows = [
        (grade_name(grade), cell.subsidy_fen,
         f"{unit.text(cell.subsidy_fen)} ({unit.signed(cell.difference_fen)})")
        for grade, cell in cells.items()
    ]  # fmt: skip
    return _bars("按能效等级", f"subsidy by grade, {unit.en} (against the ledger)", rows, REPLAYED)


def _bars(
    zh: str, en: str, rows: Sequence[tuple[tuple[str, str], int, str]], colour: str
) -> _Panel:
    parts = [_heading(zh, en)]
    high = max([1, *(length for _, length, _ in rows)])
    for at, (name, length, label) in enumerate(rows):
        y = HEAD + at * ROW
        wide = max(length, 0) * 160 // high
        parts.append(_label(0, y + 14, name))
        parts.append(_rect(230, y + 2, wide, 15, colour))
        parts.append(_text(236 + wide, y + 14, label, "f"))
    if not rows:
        parts.append(_text(0, HEAD + 14, "无 none", "f"))
    return _Panel("".join(parts), HEAD + max(len(rows), 1) * ROW)


def _changes(tally: ReplayTally, names: Names, unit: Unit) -> _Panel:
    cells = tally.by(lambda key: (key.scheme, key.category, key.grade))
    differences = {
        f"{category}|{grade}": cell.difference_fen for (_, category, grade), cell in cells.items()
    }

    def name(key: str) -> tuple[str, str]:
        category, _, grade = key.partition("|")
        zh, en = names.category(category)
        return (zh, en) if not grade else (f"{zh} {grade_name(grade)[0]}", en)

    return _differences("受益与受损品类", f"categories, difference in {unit.en}",
                        differences, name, unit)  # fmt: skip


def _retailers(tally: ReplayTally, unit: Unit) -> _Panel:
    differences = {name: retailer.difference_fen for name, retailer in tally.retailers.items()}
    return _differences("受益与受损企业", f"retailers, difference in {unit.en}",
                        differences, lambda key: (key, ""), unit)  # fmt: skip


def _differences(
    zh: str,
    en: str,
    differences: dict[str, int],
    name: Callable[[str], tuple[str, str]],
    unit: Unit,
) -> _Panel:
    gained, lost = extremes(differences, EXTREMES_MAX)
    rows = [*gained, *reversed(lost)]
    parts = [_heading(zh, en)]
    high = max([1, *(abs(fen) for _, fen in rows)])
    middle = 390
    for at, (key, fen) in enumerate(rows):
        y = HEAD + at * ROW
        wide = abs(fen) * 90 // high
        parts.append(_label(0, y + 14, name(key)))
        if fen > 0:
            parts.append(_rect(middle, y + 2, wide, 15, GAIN))
            parts.append(_text(middle + wide + 5, y + 14, unit.signed(fen), "f"))
        else:
            parts.append(_rect(middle - wide, y + 2, wide, 15, LOSS))
            parts.append(_text(middle + 5, y + 14, unit.signed(fen), "f"))
    if not rows:
        parts.append(_text(0, HEAD + 14, "无 none", "f"))
    else:
        parts.append(_line(middle, HEAD, middle, HEAD + len(rows) * ROW - 6))
    return _Panel("".join(parts), HEAD + max(len(rows), 1) * ROW)


# --- marks ------------------------------------------------------------------------------


def _heading(zh: str, en: str) -> str:
    return _text(0, 14, zh, "h") + _text(0, 32, en, "f")


def _legend() -> str:
    return (
        _rect(HALF - 190, 5, 11, 11, BOOKED)
        + _text(HALF - 174, 15, "账上 ledger", "f")
        + _rect(HALF - 90, 5, 11, 11, REPLAYED)
        + _text(HALF - 74, 15, "推演 replay", "f")
    )


def _label(x: int, y: int, name: tuple[str, str]) -> str:
    zh, en = name
    faint = f' <tspan class="f">{escape(_short(en, 20))}</tspan>' if en else ""
    return f'<text x="{x}" y="{y}">{escape(_short(zh, 24))}{faint}</text>'


def _text(x: int, y: int, text: str, style: str = "", anchor: str = "") -> str:
    attributes = f' class="{style}"' if style else ""
    attributes += f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x}" y="{y}"{attributes}>{escape(text)}</text>' if text else ""


def _rect(x: int, y: int, wide: int, tall: int, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{wide}" height="{tall}" fill="{colour}"/>'


def _line(x1: int, y1: int, x2: int, y2: int) -> str:
    return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{RULE}"/>'


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
