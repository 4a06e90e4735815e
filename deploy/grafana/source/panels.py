"""Panels as data, and their translation into Grafana's own models."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.source.words import Language, Words, names

Kind = Literal["stat", "bars", "lines", "columns", "table"]
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${source}")
LABEL = r"\{\{\w+\}\}"
POOL = Words("资金池", "Pool")
SCREEN_WIDE = 24
# A panel of numbers is about half as high as a chart; both can be read across a room.
STAT_HIGH, CHART_HIGH = 5, 9


@dataclass(frozen=True)
class Query:
    """`legend` may use labels as {{pool}}; in a table it is the column's heading."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """`about` says what the panel shows, or what to do when it looks wrong. `steps` are pairs of a
    lowest value and its colour."""

    kind: Kind
    title: Words
    about: Words
    queries: Sequence[Query]
    unit: str
    width: int
    decimals: int | None = None
    steps: Sequence[tuple[float | None, str]] = ((None, "blue"),)
    low: float | None = None
    high: float | None = None
    interval: str | None = None
    stacked: bool = False
    texts: Sequence[tuple[str, Words]] = field(default=())  # "nan", "empty" or "from..to": text


def built(panel: Panel, language: Language) -> Any:
    """Grafana's builder of the panel, in one language."""
    make: dict[Kind, Callable[[], Any]] = {
        "stat": _stat,
        "bars": _bars,
        "lines": lambda: _series(kinds.GraphDrawStyle.LINE, panel.stacked),
        "columns": lambda: _series(kinds.GraphDrawStyle.BARS, panel.stacked),
        "table": _table,
    }
    builder = make[panel.kind]()
    builder.title(panel.title.of(language)).description(panel.about.of(language))
    builder.datasource(SOURCE).unit(panel.unit)
    builder.thresholds(_steps(panel.steps))
    for setter, value in (
        (builder.decimals, panel.decimals),
        (builder.min, panel.low),
        (builder.max, panel.high),
        (builder.interval, panel.interval),
    ):
        if value is not None:
            setter(value)
    _add_texts(builder, panel, language)
    for ref, query in zip("ABCDEFGH", panel.queries, strict=False):
        builder.with_target(_target(panel, query, ref))
    if panel.kind == "table":
        _as_columns(builder, panel, language)
    for value, name in _display_names(panel, language).items():
        builder.override_by_name(value, [models.DynamicConfigValue("displayName", name)])
    return builder


def places(panels: Sequence[Panel]) -> list[models.GridPos]:
    """The positions of the panels, row by row. All panels of a row get the same height."""
    rows: list[list[Panel]] = [[]]
    for panel in panels:
        if sum(other.width for other in rows[-1]) + panel.width > SCREEN_WIDE:
            rows.append([])
        rows[-1].append(panel)
    positions, y = [], 0
    for row in rows:
        high = max(STAT_HIGH if panel.kind == "stat" else CHART_HIGH for panel in row)
        x = 0
        for panel in row:
            positions.append(models.GridPos(h=high, w=panel.width, x=x, y=y))
            x += panel.width
        y += high
    return positions


def _display_names(panel: Panel, language: Language) -> dict[str, str]:
    """The name to show for each value of the labels in the legends."""
    labels = {query.legend[2:-2] for query in panel.queries if re.fullmatch(LABEL, query.legend)}
    return {
        value: name for label in sorted(labels) for value, name in names(language, label).items()
    }


def _target(panel: Panel, query: Query, ref: str) -> Any:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)
    target.datasource(SOURCE)
    if panel.kind == "table":
        return target.instant().format(PromQueryFormat.TABLE)
    return target.instant() if panel.kind == "bars" else target.range()


def _stat() -> Any:
    newest = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    return (
        stat.Panel()
        .reduce_options(newest)
        .color_mode(kinds.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)
    )


def _bars() -> Any:
    newest = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    return (
        bargauge.Panel()
        .reduce_options(newest)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .value_mode(kinds.BarGaugeValueMode.TEXT)
    )


def _series(style: kinds.GraphDrawStyle, stacked: bool) -> Any:
    builder = (
        timeseries.Panel()
        .draw_style(style)
        .line_width(3 if style is kinds.GraphDrawStyle.LINE else 1)
        .fill_opacity(8 if style is kinds.GraphDrawStyle.LINE else 80)
        .show_points(kinds.VisibilityMode.NEVER)
        .bar_alignment(kinds.BarAlignment.AFTER)  # a day's column begins at its midnight
        .legend(
            common.VizLegendOptions()
            .display_mode(kinds.LegendDisplayMode.TABLE)
            .placement(kinds.LegendPlacement.RIGHT)
            .show_legend(True)
            .calcs(["lastNotNull"])
        )
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI))
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    )
    if stacked:
        builder.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    return builder


def _table() -> Any:
    return table.Panel().cell_height(kinds.TableCellHeight.LG)


def _as_columns(builder: Any, panel: Panel, language: Language) -> None:
    """Show a row per pool, with a column per query."""
    refs = "ABCDEFGH"[: len(panel.queries)]
    builder.with_transformation(
        models.DataTransformerConfig(
            id_val="joinByField", options={"byField": "pool", "mode": "outer"}
        )
    )
    times = {f"Time {n}": True for n in range(1, len(refs) + 1)} | {"Time": True}
    headings = {
        f"Value #{ref}": query.legend for ref, query in zip(refs, panel.queries, strict=True)
    }
    headings["pool"] = POOL.of(language)
    builder.with_transformation(
        models.DataTransformerConfig(
            id_val="organize", options={"excludeByName": times, "renameByName": headings}
        )
    )


def _steps(steps: Sequence[tuple[float | None, str]]) -> Any:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value, color) for value, color in steps])
    )


def _add_texts(builder: Any, panel: Panel, language: Language) -> None:
    """Add the texts that replace a number, and the names of pools in a table."""
    mappings: list[Any] = []
    for when, words in panel.texts:
        text = models.ValueMappingResult(text=words.of(language))
        if when == "empty":
            builder.no_value(words.of(language))
        elif when == "nan":
            nan = models.DashboardSpecialValueMapOptions(models.SpecialValueMatch.NA_N, text)
            mappings.append(models.SpecialValueMap(nan))
        else:
            low, _, high = when.partition("..")
            between = models.DashboardRangeMapOptions(float(low), float(high), text)
            mappings.append(models.RangeMap(between))
    if panel.kind == "table":
        pool_names = {
            label: models.ValueMappingResult(text=name)
            for label, name in names(language, "pool").items()
        }
        mappings.append(models.ValueMap(pool_names))
    if mappings:
        builder.mappings(mappings)
