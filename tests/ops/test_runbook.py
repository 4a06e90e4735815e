"""Every command of the runbook: run on real engines, or, where it needs a cluster, read."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from service.cli import app
from service.embedded import postgres
from tests.builders import uscc
from tests.serve.test_serve import free_port
from tests.upgrade.former import ROOT
from tests.upgrade.rolling import Release, engines, enrol
from tests.upgrade.seed import seed

RUNBOOK = (ROOT / "deploy" / "runbook.md").read_text()
BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.M)
CLAIMS = 300
# A client that the wheels do not bring: the one command of it that the runbook has.
VALKEY_CLI = f"""#!{sys.executable}
import sys, redis
assert sys.argv[1] == "-u"
redis.from_url(sys.argv[2]).execute_command(*sys.argv[3:])
"""


def blocks(kind: str) -> list[str]:
    return [text for mark, text in BLOCK.findall(RUNBOOK) if mark == kind]


def butie_commands() -> Iterator[list[str]]:
    """Each `butie …` of a text or a block, as words; `…` and POOL stand for what one fills in."""
    text = BLOCK.sub("", RUNBOOK)
    lines = "".join(blocks("sh")).splitlines()
    for command in (*re.findall(r"`(butie [^`]*)`", text), *lines):
        for match in re.finditer(r"\bbutie (?![_.])[a-z][^|;&>)]*", command):
            yield shlex.split(match[0].replace("…", " x "))[1:]


def test_every_block_is_run_or_marked_as_a_clusters() -> None:
    assert {mark for mark, _ in BLOCK.findall(RUNBOOK)} == {"sh", "sh cluster"}


@pytest.mark.parametrize("words", list(butie_commands()), ids=" ".join)
def test_every_command_named_is_there_with_its_options(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    for word in words:
        if not hasattr(command, "commands"):
            break
        assert word in command.commands, f"butie has no {word}"
        command = command.commands[word]
    options = {name for one in command.params for name in one.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_what_needs_a_cluster_names_a_tool_of_one() -> None:
    tools = {line.split()[0] for text in blocks("sh cluster") for line in text.splitlines()}
    assert tools <= {"kubectl", "docker"}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_runbook_can_be_followed_from_top_to_bottom(tmp_path: Path) -> None:
    if missing := [name for name in ("bash", "curl", "openssl") if shutil.which(name) is None]:
        pytest.skip(f"needs {missing}")
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
        said = tmp_path / "said.txt"
        with said.open("w") as output:
            done = subprocess.run(
                ["bash", "-euxo", "pipefail", "-c", "\n".join(blocks("sh"))],
                cwd=desk,
                env=release.environment | settings,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
    assert done.returncode == 0, said.read_text()[-4000:]
