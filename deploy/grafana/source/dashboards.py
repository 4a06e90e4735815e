"""The three dashboards in both languages, as the JSON files that Grafana loads."""

from pathlib import Path
from types import ModuleType

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, VariableOption

from deploy.grafana.source import budget, finance, service
from deploy.grafana.source.panels import built, places
from deploy.grafana.source.words import Language, Words

FOLDER = Path(__file__).parents[1] / "dashboards"
# name: (module, default time range, refresh interval)
BOARDS: dict[str, tuple[ModuleType, str, str]] = {
    "budget": (budget, "now-30d", "30s"),
    "service": (service, "now-3h", "15s"),
    "finance": (finance, "now-30d", "5m"),
}
LANGUAGES: tuple[Language, ...] = ("zh", "en")


def dashboards() -> dict[str, str]:
    """The JSON of each dashboard, by its path below `dashboards/`."""
    return {
        f"{language}/{name}.json": _dashboard(name, language)
        for name in BOARDS
        for language in LANGUAGES
    }


def _dashboard(name: str, language: Language) -> str:
    module, since, refresh = BOARDS[name]
    source = (
        dashboard.DatasourceVariable("source")
        .type("prometheus")
        .label(Words("数据源", "data source").of(language))
        .current(VariableOption(text="Butie Prometheus", value="butie-prometheus"))
    )
    board = (
        dashboard.Dashboard(module.TITLE.of(language))
        .uid(f"butie-{name}-{language}")
        .description(module.ABOUT.of(language))
        .tags(["butie", language])
        .timezone("Asia/Shanghai")  # days begin at its midnight
        .time(since, "now")
        .refresh(refresh)
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(source)
    )
    panels = module.panels(language)
    for panel, place in zip(panels, places(panels), strict=True):
        board.with_panel(built(panel, language).grid_pos(place))
    return JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False).encode(board.build()) + "\n"
