"""deploy/kubernetes as kubectl builds it, held against the published schemas and the service."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.claims.bundle import CLAIM_CONNECTIONS_MAX
from service.config import Settings
from service.db.reports import REPORT_CONNECTIONS_MAX
from service.server.run import DRAIN_S
from service.wiring import CLOSE_S
from tests.deploy.conftest import DEPLOY, ROOT, tool

pytestmark = pytest.mark.long

# The oldest release that the manifests are meant for: preStop's own sleep is from then.
OLDEST = "1.30"
SETTINGS = {f"BUTIE_{name.upper()}" for name in Settings.model_fields}
CUSTOM = ("ExternalSecret", "ServiceMonitor")


@pytest.fixture(scope="module")
def objects() -> list[Any]:
    return built_from(DEPLOY / "kubernetes/overlays/production")


def built_from(overlay: Path) -> list[Any]:
    """What `kubectl apply -k` would send for the overlay."""
    built = subprocess.run(
        [tool("kubectl"), "kustomize", str(overlay)], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert "deprecated" not in built.stderr
    return list(yaml.safe_load_all(built.stdout))


def only(objects: list[Any], kind: str, name: str = "butie") -> Any:
    (found,) = [
        one for one in objects if one["kind"] == kind and one["metadata"]["name"].startswith(name)
    ]
    return found


def pods(objects: list[Any]) -> dict[str, Any]:
    """Every pod template, by what makes it."""
    found = {}
    for one in objects:
        spec = one.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec and one["kind"] not in CUSTOM:
            found[one["kind"], one["metadata"]["name"]] = spec["template"]["spec"]
    return found


def containers(pod: Any) -> Any:
    return chain(pod.get("initContainers", ()), pod["containers"])


@pytest.mark.parametrize("release", [OLDEST, "1.33", "1.37"])
def test_every_object_keeps_to_the_published_schema(objects: list[Any], release: str) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    for one in objects:
        if one["kind"] not in CUSTOM:
            validator.validate(one, release, strict=True)


def test_what_operators_read_keeps_to_their_schemas(objects: list[Any]) -> None:
    crds = ROOT / ".venv/crds"
    if not (crds / "node_modules").is_dir():
        pytest.skip("the operators' schemas are not here (make test-deploy brings them)")
    ours = [one for one in objects if one["kind"] in CUSTOM]
    assert len(ours) == 3
    wrong = json.loads(json.dumps(ours[0]))
    del wrong["spec"]["target"], wrong["spec"]["data"][0]["remoteRef"]["key"]
    for sent, lines in ((ours, 0), ([wrong], 1)):
        found = subprocess.run(
            [tool("node"), str(crds / "check.mjs")],
            input=json.dumps(sent),
            capture_output=True,
            text=True,
        )
        assert found.returncode == 0, found.stderr
        assert len(found.stdout.splitlines()) == lines, found.stdout


def test_no_container_can_do_more_than_it_must(objects: list[Any]) -> None:
    assert {kind for kind, _ in pods(objects)} == {"Deployment", "Job", "CronJob"}
    for pod in pods(objects).values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["automountServiceAccountToken"] is False
        for container in containers(pod):
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert re.search(r":\d+\.\d+\.\d+$", container["image"])


def test_every_variable_is_a_setting_and_every_secret_too(objects: list[Any]) -> None:
    settings = only(objects, "ConfigMap", "butie-settings")["data"]
    assert set(settings) <= SETTINGS
    Settings.model_validate({key[6:].lower(): text for key, text in settings.items()})
    for pod in pods(objects).values():
        for container in containers(pod):
            assert {one["name"] for one in container.get("env", ())} <= SETTINGS
    secrets = {
        one["spec"]["target"]["name"]: {entry["secretKey"] for entry in one["spec"]["data"]}
        for one in objects
        if one["kind"] == "ExternalSecret"
    }
    assert set.union(*secrets.values()) <= SETTINGS
    mounted = {
        volume["secret"]["secretName"]
        for pod in pods(objects).values()
        for volume in pod["volumes"]
        if "secret" in volume
    }
    assert mounted == set(secrets)


def test_the_owner_of_the_schema_is_known_to_the_migration_alone(objects: list[Any]) -> None:
    for (kind, _), pod in pods(objects).items():
        names = [one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one]
        assert names == (["butie-owner"] if kind == "Job" else ["butie-service"])


def test_a_release_migrates_in_a_job_of_its_own_and_new_pods_wait_for_it(
    objects: list[Any],
) -> None:
    job = only(objects, "Job")
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    assert job["metadata"]["name"] == f"butie-migrate-{image.rsplit(':', 1)[1]}"
    deployment = only(objects, "Deployment")
    (wait,) = pods(objects)["Deployment", "butie"]["initContainers"]
    assert wait["args"][:2] == ["migrate", "--wait"]
    assert int(wait["args"][2]) < deployment["spec"]["progressDeadlineSeconds"]
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_a_pod_that_ends_has_time_to_answer_what_is_under_way(objects: list[Any]) -> None:
    pod = pods(objects)["Deployment", "butie"]
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= before + DRAIN_S + CLOSE_S + 5


def test_the_service_selects_the_pods_and_so_do_monitor_budget_and_policy(
    objects: list[Any],
) -> None:
    labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        only(objects, "Service")["spec"]["selector"],
        only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        only(objects, "Deployment")["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels
    service = only(objects, "Service")
    monitor = only(objects, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_all_pods_together_find_room_in_postgresql(objects: list[Any]) -> None:
    """A pod's pools: 10 for the API, the claims' own, the reports'; and a roll-out's one more."""
    each = 10 + CLAIM_CONNECTIONS_MAX + REPORT_CONNECTIONS_MAX
    most = only(objects, "HorizontalPodAutoscaler")["spec"]["maxReplicas"] + 1
    text = (DEPLOY / "kubernetes/base/autoscaler.yaml").read_text()
    told = re.search(r"up to (\d+) connections", text)
    assert told is not None and int(told[1]) >= each
    assert most * each < 200


def test_an_overlay_of_ones_own_is_made_as_the_page_says(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "kubernetes", tmp_path / "deploy/kubernetes")
    page = (DEPLOY / "README.md").read_text()
    steps = re.findall(r"^(?:cp -r|butie policy) .*$", page, re.M)
    assert len(steps) == 2
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for step in steps:
        subprocess.run(["bash", "-euc", step], cwd=tmp_path, env={"PATH": path}, check=True)
    mine = built_from(tmp_path / "deploy/kubernetes/overlays/mine")
    (confirmed,) = only(mine, "ConfigMap", "butie-confirmations")["data"].values()
    assert len(confirmed.splitlines()) > 20


def test_files_that_a_kustomization_names_lie_beside_it() -> None:
    for folder in {path.parent for path in Path(DEPLOY / "kubernetes").rglob("*.yaml")}:
        assert (folder / "kustomization.yaml").exists()
