"""A real Prometheus scrapes a real service under load, and every query of a dashboard has data.

With BUTIE_PICTURES set to a folder the dashboards are drawn there.
"""

import json
import math
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.source.dashboards import FOLDER
from loadtests.seed import seed_sandbox
from tests.ops.declared import declared
from tests.ops.prometheus import Prometheus, scraping
from tests.ops.shopping import Tills
from tests.programs import needs
from tests.serve.sandbox import BUTIE, environment, served

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    needs("prometheus"),
]

# The same number on each of the 149 days before the sandbox begins, the last one included.
PAST_CLAIMS = 149 * 40
ROUNDS = 8


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped a sandbox with months of claims during some rounds of sales."""
    folder = tmp_path_factory.mktemp("eyes")
    seed_sandbox(folder / "data", PAST_CLAIMS)
    with served(folder, BUTIE_WORKERS="2"):
        access = json.loads((folder / "data" / "sandbox.json").read_text())
        tills = Tills(access["base_url"], access["keys"], datetime.fromisoformat(access["clock"]))
        with scraping(folder, access["base_url"].removeprefix("http://")) as watching:
            plan_and_audit(folder)
            for _ in range(ROUNDS):
                tills.round()
                time.sleep(1.5)  # a scrape or two between one round and the next
            wait_for(watching, 'butie_gate_drift_fen{pool="cars"}')
            wait_for(watching, "butie_uninvoiced_claims")
            dated = 'butie_forecast_exhausted_timestamp_seconds{pool="cars", quantile="0.5"}'
            wait_for(watching, f"{dated} < +Inf")
            yield watching


def plan_and_audit(folder: Path) -> None:
    """The bureau plans a tranche and cuts two budgets so that they will run out; the operator
    audits."""
    for arguments in (
        "budget tranche add cars --at 2025-07-01T00:00+08:00 --fen 200000000 --document 南财9号",
        "budget adjust cars --fen -1450000000 --document 南财10号 --reason test",
        "budget adjust ebike --fen -146500000 --document 南财11号 --reason test",
        "audit",
    ):
        subprocess.run(
            [BUTIE, *arguments.split()], env=environment(folder), check=True, capture_output=True
        )


def wait_for(watching: Prometheus, expr: str) -> None:
    deadline = time.monotonic() + 60
    while not watching.get("query", query=expr)["result"]:
        assert time.monotonic() < deadline, expr
        time.sleep(0.5)


def boards() -> list[Path]:
    return sorted(FOLDER.glob("*/*.json"))


@pytest.mark.parametrize("path", boards(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_query_of_a_dashboard_has_data(prometheus: Prometheus, path: Path) -> None:
    board = json.loads(path.read_text())
    silent = []
    shown: list[list[list[dict[str, Any]]]] = []
    for panel in board["panels"]:
        answers = [prometheus.panel(panel, target) for target in panel["targets"]]
        shown.append(answers)
        may_be_unknown = "special" in str(panel["fieldConfig"]["defaults"].get("mappings"))
        for target, series in zip(panel["targets"], answers, strict=True):
            values = [float(value) for line in series for _, value in line["values"]]
            if not values or (not may_be_unknown and all(map(math.isnan, values))):
                silent.append((panel["title"], target["expr"]))
    if folder := os.environ.get("BUTIE_PICTURES"):
        from tests.ops.picture import draw

        draw(board, shown, Path(folder) / f"{board['uid']}.png")
    assert silent == []


def test_every_metric_was_scraped(prometheus: Prometheus) -> None:
    names = set(prometheus.get("label/__name__/values"))
    for name, metric in declared().items():
        series_name = f"{name}_count" if metric.kind == "histogram" else name
        assert series_name in names, name


def test_prometheus_evaluates_every_rule(prometheus: Prometheus) -> None:
    deadline = time.monotonic() + 60
    while True:
        groups = prometheus.get("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        if all(rule["health"] == "ok" for rule in rules):
            break
        assert time.monotonic() < deadline, [rule for rule in rules if rule["health"] != "ok"]
        time.sleep(0.5)
    assert len(rules) == 31


def test_a_sandbox_at_work_fires_no_alert(prometheus: Prometheus) -> None:
    alerts = prometheus.get("alerts")["alerts"]
    assert [alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"] == []
