"""The dashboards are those that their source makes, and query only metrics that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.source.dashboards import BOARDS, FOLDER, dashboards
from deploy.grafana.source.words import NAMES
from service.core.reasons import ReasonCode
from service.policies import read_book
from tests.ops.declared import declared, names_in
from tests.ops.rules import rules

DEPLOY = Path(__file__).parents[2] / "deploy"
SCREEN_WIDE = 24


def boards(language: str = "*") -> Iterator[dict[str, Any]]:
    for path in sorted(FOLDER.glob(f"{language}/*.json")):
        yield json.loads(path.read_text())


def queries() -> list[str]:
    return [
        target["expr"]
        for board in boards()
        for panel in board["panels"]
        for target in panel["targets"]
    ]


def test_the_dashboards_are_what_their_source_makes() -> None:
    files = {str(path.relative_to(FOLDER)): path.read_text() for path in FOLDER.glob("*/*.json")}
    assert files == dashboards(), "run: python -m deploy.grafana.source"


def test_dashboards_and_alerts_query_every_metric_and_no_other() -> None:
    asked = {name for expr in queries() for name in names_in(expr)}
    asked |= {name for rule in rules() for name in names_in(rule["expr"])}
    assert asked == set(declared())


@pytest.mark.parametrize("board", list(boards()), ids=lambda board: board["uid"])
def test_a_panel_has_a_title_a_unit_advice_and_a_place_of_its_own(board: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"] and panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= SCREEN_WIDE, panel["title"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${source}"


def test_both_languages_have_the_same_queries() -> None:
    for zh, en in zip(boards("zh"), boards("en"), strict=True):
        assert zh["uid"][:-2] == en["uid"][:-2]
        assert len(zh["panels"]) == len(en["panels"])
        for chinese, english in zip(zh["panels"], en["panels"], strict=True):
            assert re.search(r"[\u4e00-\u9fff]", chinese["title"])
            assert english["title"].isascii()
            asked = [
                [re.sub(r" / (1e6|100)$", "", target["expr"]) for target in panel["targets"]]
                for panel in (chinese, english)
            ]
            assert asked[0] == asked[1]


def test_every_reason_and_pool_has_a_name() -> None:
    assert set(NAMES["code"]) == {code.value for code in ReasonCode}
    assert set(NAMES["pool"]) == {
        scheme for policy in read_book("330402").policies for scheme in policy.schemes
    }


def test_the_provisioning_has_the_data_source_and_the_folders_of_the_dashboards() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    for board in boards():
        (variable,) = board["templating"]["list"]
        assert (variable["name"], variable["query"]) == ("source", source["type"])
        assert variable["current"]["value"] == source["uid"]
        assert board["timezone"] == "Asia/Shanghai"
    providers = yaml.safe_load((provisioning / "dashboards" / "butie.yaml").read_text())[
        "providers"
    ]
    folders = [Path(provider["options"]["path"]).name for provider in providers]
    assert sorted(folders) == sorted(path.name for path in FOLDER.iterdir())
    uids = [board["uid"] for board in boards()]
    assert len(set(uids)) == len(uids) == 2 * len(BOARDS)
