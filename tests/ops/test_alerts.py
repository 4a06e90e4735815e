"""Each alert has a case that fires it, one that does not, and a section in the runbook."""

import re
import subprocess

import pytest
import yaml

from service import metrics
from tests.ops.declared import declared, names_in
from tests.ops.rules import DEPLOY, PROMETHEUS, rules
from tests.programs import needs

ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


@needs("promtool")
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    subprocess.run(
        ["promtool", "check", "config", PROMETHEUS / "prometheus.yml"],
        check=True,
        capture_output=True,
    )


@needs("promtool")
@pytest.mark.parametrize("cases", ["alerts.yml", "slow.yml"])
def test_the_alerts_fire_only_when_they_should(cases: str) -> None:
    ran = subprocess.run(
        ["promtool", "test", "rules", PROMETHEUS / "tests" / cases],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout


def test_every_alert_has_a_case_that_fires_it_and_one_that_does_not() -> None:
    fires, silent = set(), set()
    for path in PROMETHEUS.glob("tests/*.yml"):
        for case in yaml.safe_load(path.read_text())["tests"]:
            for asked in case["alert_rule_test"]:
                assert case["name"].startswith(asked["alertname"])
                (fires if asked["exp_alerts"] else silent).add(asked["alertname"])
    assert fires == silent == set(ALERTS)


def test_every_alert_has_a_summary_in_both_languages_and_a_section_in_the_runbook() -> None:
    runbook = (DEPLOY / "runbook.md").read_text()
    sections = {
        heading.lower(): text
        for heading, text in re.findall(r"^### (Butie\w+)\n(.*?)(?=^##|\Z)", runbook, re.M | re.S)
    }
    for name, alert in ALERTS.items():
        notes = alert["annotations"]
        assert re.search(r"[\u4e00-\u9fff]", notes["summary_zh"]), name
        assert notes["summary_en"].isascii(), name
        page, _, anchor = notes["runbook"].partition("#")
        assert page == "deploy/runbook.md"
        assert anchor == name.lower()
        assert len(sections[anchor]) > 80, name
        assert alert["labels"]["severity"] in ("critical", "warning", "notice")
    assert set(sections) == {name.lower() for name in ALERTS}


def test_the_rules_ask_only_for_metrics_and_labels_that_exist() -> None:
    for rule in rules():
        assert names_in(rule["expr"]) <= set(declared()), rule


def test_late_means_what_the_targets_say() -> None:
    late = next(rule["expr"] for rule in rules() if rule.get("record") == "butie:late:ratio_1h")
    asked = {
        (route, float(within))
        for routes, within in re.findall(r'route=~?"([^"]+)", le="([^"]+)"', late)
        for route in routes.split("|")
    }
    assert asked == {(slo.route, slo.within_s) for slo in metrics.SLOS}
