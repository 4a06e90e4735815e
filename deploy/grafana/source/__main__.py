"""Writes the dashboards: python -m deploy.grafana.source"""

from deploy.grafana.source.dashboards import FOLDER, dashboards

for name, text in dashboards().items():
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
