"""Every command of the runbook is run on real engines. Those for a cluster are only checked."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from service.cli.commands import app
from service.embedded import postgres
from tests.builders import uscc
from tests.programs import needs
from tests.serve.sandbox import free_port
from tests.upgrade.former import ROOT
from tests.upgrade.rolling import Release, engines, enrol
from tests.upgrade.seed import seed

RUNBOOK = (ROOT / "deploy" / "runbook.md").read_text()
PAGES = ("deploy/runbook.md", "deploy/README.md", "README.md", "docs/finance.md")
BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.M)
CLAIMS = 300
# The wheels have no `valkey-cli`. This one runs the one command that the runbook has.
VALKEY_CLI = f"""#!{sys.executable}
import sys, redis
assert sys.argv[1] == "-u"
redis.from_url(sys.argv[2]).execute_command(*sys.argv[3:])
"""


def blocks(kind: str) -> list[str]:
    return [text for mark, text in BLOCK.findall(RUNBOOK) if mark == kind]


def butie_commands(page: str) -> Iterator[list[str]]:
    """Each `butie …` command in a page's text and blocks, as words. The reader fills in `…` and
    POOL."""
    lines = "".join(text for _, text in BLOCK.findall(page)).replace("\\\n", " ").splitlines()
    shown = [line for line in lines if not line.startswith(("systemctl", "useradd", "docker"))]
    for command in (*re.findall(r"`(butie [^`]*)`", BLOCK.sub("", page)), *shown):
        for match in re.finditer(r"(?<!-[nc] )\bbutie (?![_.])[a-z][^|;&>)#]*", command):
            yield shlex.split(match[0].replace("…", " x "))[1:]


def test_every_block_is_run_or_marked_as_a_clusters() -> None:
    assert {mark for mark, _ in BLOCK.findall(RUNBOOK)} == {"sh", "sh cluster"}


@pytest.mark.parametrize(
    "words",
    [words for page in PAGES for words in butie_commands((ROOT / page).read_text())],
    ids=" ".join,
)
def test_every_named_command_exists_with_its_options(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    for word in words:
        if not hasattr(command, "commands"):
            break
        assert word in command.commands, f"butie has no {word}"
        command = command.commands[word]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def compose_commands() -> Iterator[list[str]]:
    """The compose commands of the pages, as words after compose's own options."""
    page = (ROOT / "deploy/README.md").read_text()
    for line in (*page.splitlines(), *"".join(blocks("sh cluster")).splitlines()):
        for match in re.finditer(r"(?:\bdc|-f deploy/compose\.yaml) ([a-z][^|&#`]*)", line):
            yield [word for word in match[1].split() if not re.match("-|USER=|…", word)]


@pytest.mark.parametrize("words", list(compose_commands()), ids=" ".join)
def test_compose_is_asked_for_what_it_has(words: list[str]) -> None:
    services = set(yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"])
    verb, *named = words
    assert verb in ("up", "ps", "build", "exec", "run", "stop", "restart")
    assert set(named[:1] if verb in ("exec", "run") else named) <= services


def test_a_cluster_is_asked_for_what_the_manifests_have() -> None:
    page = (ROOT / "deploy/README.md").read_text()
    lines = [*page.splitlines(), *"".join(blocks("sh cluster")).splitlines()]
    objects = re.findall(r"kubectl -n (\w+) .*?\b(deployment/\w+)", "\n".join(lines))
    assert len(objects) >= 5
    assert set(objects) == {("butie", "deployment/butie")}
    tools = {line.split()[0] for text in blocks("sh cluster") for line in text.splitlines()}
    assert tools == {"kubectl", "docker"}


@pytest.mark.long
@pytest.mark.timeout(900)
@needs("bash", "curl", "openssl")
def test_the_runbook_can_be_followed_from_top_to_bottom(tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "valkey-cli").write_text(VALKEY_CLI)
    (desk / "valkey-cli").chmod(0o755)
    ours = [str(desk), str(Path(sys.executable).parent), str(Path(postgres.program("psql")).parent)]
    with engines(tmp_path) as (_, _, database_url, redis_url):
        release = Release("new", ROOT, database_url, redis_url)
        release.butie("migrate")
        enrol(release, tmp_path, uscc(1))
        asyncio.run(seed(database_url, CLAIMS))
        settings = {
            "PATH": os.pathsep.join([*ours, os.environ["PATH"]]),
            "BUTIE_PORT": str(free_port()),
        }
        log = tmp_path / "output.txt"
        with log.open("w") as output:
            done = subprocess.run(
                ["bash", "-euxo", "pipefail", "-c", "\n".join(blocks("sh"))],
                cwd=desk,
                env=release.environment | settings,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
    assert done.returncode == 0, log.read_text()[-4000:]
