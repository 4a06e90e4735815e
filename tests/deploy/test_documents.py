"""What is written about settings and files is so, and nothing is left out."""

import re
from pathlib import Path

import pytest

from service.config import Settings
from tests.deploy.conftest import DEPLOY, ROOT

INTERNAL = {"BUTIE_SANDBOX_OFFSET_S"}
SETTINGS = {f"BUTIE_{name.upper()}" for name in Settings.model_fields} - INTERNAL
NAME = re.compile(r"\bBUTIE_[A-Z_]+[A-Z]\b")
# Variables of the tests', of measurements' and of compose's own.
OTHERS = {
    name
    for path in [
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "loadtests").rglob("*.py"),
        DEPLOY / "compose.yaml",
    ]
    if path != Path(__file__)
    for name in NAME.findall(path.read_text())
}
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *DEPLOY.rglob("*.md")]


def table() -> dict[str, str]:
    """The README's table: each variable with its line."""
    text = (ROOT / "README.md").read_text().split("## Settings", 1)[1].split("\n## ", 1)[0]
    return {
        name: line
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(BUTIE_\w+)`", line.split("|")[1])
    }


def test_every_setting_stands_in_the_readme_and_nothing_else_does() -> None:
    assert set(table()) == SETTINGS


@pytest.mark.parametrize("name", ["PORT", "HOST", "WORKERS", "JURISDICTION", "GATE_MODE",
    "HOLD_MINUTES", "ANSWER_WITHIN_MS", "BODY_MAX_BYTES", "REQUESTS_MAX"])  # fmt: skip
def test_a_default_in_the_readme_is_the_settings_own(name: str) -> None:
    default = Settings.model_fields[name.lower()].default
    assert str(default) in table()[f"BUTIE_{name}"].split("|")[2]


def test_no_document_names_a_setting_that_is_not_there() -> None:
    for path in DOCUMENTS:
        assert set(NAME.findall(path.read_text())) <= SETTINGS | OTHERS, path


def test_every_file_that_the_deployment_page_links_to_is_there() -> None:
    text = (DEPLOY / "README.md").read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    named = re.findall(r"(?:^|[\s`])(deploy/[\w./-]+)", text)
    made = ("deploy/secrets/", "deploy/.env", "deploy/kubernetes/overlays/mine")
    assert links and named
    for link in links:
        assert (DEPLOY / link).exists(), link
    for path in named:
        assert path.startswith(made) or (ROOT / path.rstrip(".,")).exists(), path


def test_every_command_of_ours_that_the_page_shows_is_one() -> None:
    from service.cli.commands import app

    groups = {group.name or group.typer_instance.info.name for group in app.registered_groups}
    commands = {
        one.name or one.callback.__name__ for one in app.registered_commands if one.callback
    }
    lines = (DEPLOY / "README.md").read_text().splitlines()
    text = "\n".join(line for line in lines if "systemctl" not in line)
    shown = set(re.findall(r"(?<!-n )\bbutie ([a-z]+)\b", text))
    assert shown
    assert shown <= {str(name) for name in groups | commands}, shown


def test_an_upgrade_starts_every_timer() -> None:
    page = (DEPLOY / "README.md").read_text()
    upgrade = page.split("**Upgrade**")[2].split("```")[1]
    assert "cp deploy/systemd/* /etc/systemd/system/\nsystemctl daemon-reload\n" in upgrade
    timers = {path.name for path in (DEPLOY / "systemd").glob("*.timer")}
    assert timers
    assert all(timer in upgrade for timer in timers)


def test_the_scripts_can_be_run() -> None:
    for path in Path(DEPLOY).rglob("*.sh"):
        assert path.stat().st_mode & 0o111, path
