"""Draws a dashboard from its JSON and the results of its queries, so that people can check it.

It only imitates Grafana: units are scaled and long legends folded in a simpler way.
"""

import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

SHANGHAI = timezone(timedelta(hours=8))
CELL_WIDE, CELL_HIGH = 0.8, 0.42  # inches
COLOURS = {
    "green": "#56A64B",
    "yellow": "#F2CC0C",
    "orange": "#FF780A",
    "red": "#E02F44",
    "blue": "#3274D9",
    "purple": "#8F3BB8",
}
Series = list[dict[str, Any]]


def draw(board: dict[str, Any], shown: list[list[Series]], path: Path) -> None:
    mpl.rcParams["font.family"] = ["Noto Sans CJK SC", "WenQuanYi Micro Hei", "DejaVu Sans"]
    mpl.rcParams["axes.unicode_minus"] = False
    high = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    figure = Figure(figsize=(24 * CELL_WIDE, high * CELL_HIGH + 0.6), facecolor="#181b1f")
    top = high * CELL_HIGH / (high * CELL_HIGH + 0.6)
    figure.text(0.01, 1 - (1 - top) / 2, board["title"], color="white", fontsize=20, va="center")
    for panel, answers in zip(board["panels"], shown, strict=True):
        _panel(figure, panel, answers, high, top)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)


def _panel(figure: Figure, panel: dict[str, Any], answers: list[Series], high: int, top: float):
    at = panel["gridPos"]
    left, width = at["x"] / 24, at["w"] / 24
    bottom, height = (1 - (at["y"] + at["h"]) / high) * top, at["h"] / high * top
    box = figure.add_axes((left + 0.002, bottom + 0.002, width - 0.004, height - 0.004))
    box.set_facecolor("#22252b")
    box.set_xticks([])
    box.set_yticks([])
    box.text(
        0.01,
        1 - 0.45 / at["h"],
        panel["title"],
        color="#ccccdc",
        fontsize=11,
        va="center",
        transform=box.transAxes,
    )
    room = 1 - 1.1 / at["h"]
    kind = panel["type"]
    if kind == "timeseries":
        inner = figure.add_axes(
            (left + width * 0.1, bottom + height * 0.13, width * 0.6, height * (room - 0.14))
        )
        _lines(inner, panel, answers)
    else:
        inner = box.inset_axes((0.01, 0.02, 0.98, room - 0.02))
        inner.axis("off")
        inner.set_xlim(0, 1)
        inner.set_ylim(0, 1)
        {"stat": _stat, "bargauge": _bars, "table": _table}[kind](inner, panel, answers)


def _named(panel: dict[str, Any], answers: list[Series]) -> list[tuple[str, Series | Any]]:
    display_names = {
        override["matcher"]["options"]: prop["value"]
        for override in panel["fieldConfig"]["overrides"]
        for prop in override["properties"]
        if prop["id"] == "displayName"
    }
    named = []
    for target, answer in zip(panel["targets"], answers, strict=True):
        for series in answer:
            name = target["legendFormat"]
            for label, value in series["metric"].items():
                name = name.replace("{{" + label + "}}", value)
            named.append((display_names.get(name, name), series["values"]))
    return named


def _text(panel: dict[str, Any], value: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    for mapping in defaults.get("mappings", []):
        options = mapping["options"]
        if mapping["type"] == "special" and math.isnan(value):
            return str(options["result"]["text"])
        if mapping["type"] == "range" and options["from"] <= value <= options["to"]:
            return str(options["result"]["text"])
    if math.isnan(value):
        return "NaN"
    unit, decimals = defaults["unit"], defaults.get("decimals")
    if unit.startswith("time:"):
        return f"{datetime.fromtimestamp(value / 1000, SHANGHAI):%Y-%m-%d}"
    digits = 2 if decimals is None else decimals
    if unit == "percentunit":
        return f"{value * 100:.{digits}f}%"
    if unit == "s":
        return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.{digits}f} s"
    if unit == "currencyCNY":
        return f"¥{value / 1e6:.2f} Mil" if abs(value) >= 1e6 else f"¥{value:,.{digits}f}"
    return f"{value:.{digits}f}{unit.removeprefix('suffix:') if ':' in unit else ''}"


def _colour(panel: dict[str, Any], value: float) -> str:
    colour = "blue"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return COLOURS[colour]


def _stat(axes: Axes, panel: dict[str, Any], answers: list[Series]) -> None:
    named = _named(panel, answers)
    if not named:
        axes.text(
            0.5,
            0.5,
            panel["fieldConfig"]["defaults"].get("noValue", "No data"),
            color="white",
            fontsize=18,
            ha="center",
            va="center",
        )
    for n, (name, values) in enumerate(named):
        value = float(values[-1][1])
        width = 1 / len(named)
        axes.add_patch(
            mpl.patches.Rectangle(
                (n * width + 0.003, 0.02), width - 0.006, 0.96, color=_colour(panel, value)
            )
        )
        inches = panel["gridPos"]["w"] * CELL_WIDE * width
        text = _text(panel, value)
        wide = sum(1.0 if ord(sign) > 255 else 0.6 for sign in text)
        size = min(34, inches * 72 / max(3, wide) * 0.85)
        axes.text((n + 0.5) * width, 0.72, name, color="white", fontsize=12, ha="center")
        axes.text(
            (n + 0.5) * width,
            0.35,
            text,
            color="white",
            fontsize=size,
            ha="center",
            va="center",
            weight="bold",
        )


def _bars(axes: Axes, panel: dict[str, Any], answers: list[Series]) -> None:
    named = [(name, float(values[-1][1])) for name, values in _named(panel, answers)]
    defaults = panel["fieldConfig"]["defaults"]
    low = defaults.get("min", min((v for _, v in named), default=0))
    high = defaults.get("max", max((v for _, v in named), default=1)) or 1
    for n, (name, value) in enumerate(named):
        y, height = 1 - (n + 1) / len(named), 0.8 / len(named)
        share = min(max((value - low) / ((high - low) or 1), 0), 1)
        axes.add_patch(mpl.patches.Rectangle((0.3, y), 0.52, height, color="#2c3235"))
        axes.add_patch(
            mpl.patches.Rectangle((0.3, y), 0.52 * share, height, color=_colour(panel, value))
        )
        axes.text(0.29, y + height / 2, name, color="white", fontsize=11, ha="right", va="center")
        axes.text(
            0.83, y + height / 2, _text(panel, value), color="white", fontsize=12, va="center"
        )


def _lines(axes: Axes, panel: dict[str, Any], answers: list[Series]) -> None:
    axes.set_facecolor("#22252b")
    axes.tick_params(colors="#ccccdc", labelsize=9)
    daily = panel.get("interval") == "1d"
    for name, values in _named(panel, answers):
        times = [datetime.fromtimestamp(float(at), SHANGHAI) for at, _ in values]
        heights = [float(value) for _, value in values]
        last = _text(panel, heights[-1])
        if daily:
            axes.bar(times, heights, width=0.6, label=f"{name}  {last}")
        else:
            axes.plot(times, heights, linewidth=2, label=f"{name}  {last}")
    axes.xaxis.set_major_formatter(DateFormatter("%m-%d" if daily else "%H:%M:%S", SHANGHAI))
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    axes.grid(color="#2c3235")
    axes.set_ylabel(
        panel["fieldConfig"]["defaults"]["unit"].removeprefix("suffix: "),
        color="#ccccdc",
        fontsize=9,
    )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1.01, 0.5),
            fontsize=9,
            frameon=False,
            labelcolor="white",
        )


def _table(axes: Axes, panel: dict[str, Any], answers: list[Series]) -> None:
    pool_names: dict[str, str] = {}
    for mapping in panel["fieldConfig"]["defaults"]["mappings"]:
        if mapping["type"] == "value":
            pool_names = {key: result["text"] for key, result in mapping["options"].items()}
    columns = [target["legendFormat"] for target in panel["targets"]]
    rows: dict[str, list[str]] = {}
    for n, answer in enumerate(answers):
        for series in answer:
            row = rows.setdefault(series["metric"]["pool"], [""] * len(columns))
            row[n] = _text(panel, float(series["values"][-1][1]))
    heading = panel["transformations"][1]["options"]["renameByName"]["pool"]
    lines = [[heading, *columns]]
    lines += [[pool_names.get(pool, pool), *row] for pool, row in rows.items()]
    for n, line in enumerate(lines):
        for at, text in enumerate(line):
            axes.text(
                0.02 + at * 0.25,
                1 - (n + 0.5) / len(lines),
                text,
                color="white",
                fontsize=14 if n else 12,
                va="center",
            )
