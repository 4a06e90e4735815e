"""Real generators make clients of the API document without a warning, and the clients work."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.api.app import make_app
from service.config import Settings
from tests.serve.sandbox import served

HERE = Path(__file__).parent
MODULES = HERE / "node_modules" / ".bin"
GENERATOR = Path(".venv/clients/bin").resolve()

pytestmark = [
    pytest.mark.clients,
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not GENERATOR.exists(), reason="make test-clients installs the generators"),
]


def run(*command: object, **options: object) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=200, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    app = make_app(Settings(database_url="postgresql://x/y", redis_url="redis://x"))
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(app.openapi()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """(base URL, a till's key, a key of finance) of a running sandbox."""
    folder = tmp_path_factory.mktemp("sandbox")
    with served(folder):
        info = json.loads((folder / "data" / "sandbox.json").read_text())
        yield info["base_url"], info["keys"]["pos"], info["keys"]["finance"]


def test_a_typescript_client_is_made_and_type_checks(document: Path, tmp_path: Path) -> None:
    output = run(MODULES / "openapi-typescript", document, "-o", tmp_path / "api.ts")
    assert "warn" not in output.lower()
    assert '"/v1/settlements/{settlement_id}/void"' in (tmp_path / "api.ts").read_text()
    run(MODULES / "tsc", "--noEmit", "--strict", tmp_path / "api.ts")


def test_a_linter_finds_nothing_to_warn_of(document: Path) -> None:
    output = run(
        MODULES / "redocly", "lint", "--config", HERE / "redocly.yaml", "--format", "json",
        "--max-problems", "10", document,
        env={**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
    )  # fmt: skip
    report = json.loads(output[output.index("{") : output.rindex("}") + 1])
    assert report["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, report["problems"]


def test_a_python_client_has_every_endpoint_and_works_for_tills_and_for_finance(
    document: Path, tmp_path: Path, sandbox: tuple[str, str, str]
) -> None:
    client = tmp_path / "client"
    output = run(
        GENERATOR / "openapi-python-client", "generate", "--path", document,
        "--config", HERE / "python.yaml",
        "--output-path", client, "--meta", "none", "--fail-on-warning",
        env={**os.environ, "PATH": f"{GENERATOR}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert "WARNING" not in output
    operations = [
        operation["operationId"]
        for path in json.loads(document.read_text())["paths"].values()
        for operation in path.values()
    ]
    made = {file.stem for file in (client / "api").rglob("*.py")} - {"__init__"}
    assert made == set(operations)
    run(GENERATOR / "python", HERE / "use.py", client, *sandbox)
