"""The day in docs/finance.md: every command there is run, every line shown is seen."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook

from tests.programs import needs

ROOT = Path(__file__).parents[2]
BLOCKS = re.compile(r"```(bash|console|text)\n(.*?)```", re.DOTALL)
END = "@@the end of a block@@"
UP_S = 120


@contextmanager
def sandbox(environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("ab") as out:
        command = [sys.executable, "-m", "service", "serve"]
        server = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        give_up = time.monotonic() + UP_S
        while True:
            try:
                url = f"http://127.0.0.1:{environment['BUTIE_PORT']}/readyz"
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < give_up, log.read_text()
                time.sleep(0.1)
        yield
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def plain(text: str) -> str:
    """Without the lines of a table."""
    return re.sub(r"[\s─-╿]+", " ", text)


def output_of(shell: "subprocess.Popen[str]", block: str) -> str:
    assert shell.stdin is not None and shell.stdout is not None
    shell.stdin.write(f"{block}\necho; echo '{END}'\n")
    shell.stdin.flush()
    lines = []
    for line in shell.stdout:
        if line.strip() == END:
            break
        lines.append(line)
    return "".join(lines)


@pytest.mark.timeout(400)
@needs("bash", "curl")
def test_the_day_goes_as_the_document_says(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("BUTIE_")},
        "BUTIE_PORT": str(port),
        "BUTIE_DATA_DIR": str(tmp_path / "data"),
        "BUTIE_LOG_LEVEL": "error",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    shell = subprocess.Popen(
        ["bash"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    blocks = BLOCKS.findall((ROOT / "docs/finance.md").read_text())
    until = [kind for kind, _ in blocks].index("console")
    assert "BUTIE_CLOCK=2025-06-19T10:00:00+08:00 make run" in blocks[until][1]
    log = tmp_path / "log"
    try:
        with sandbox(environment, log):
            go_through(shell, blocks[:until])
        environment["BUTIE_CLOCK"] = "2025-06-19T10:00:00+08:00"
        with sandbox(environment, log):
            go_through(shell, blocks[until + 1 :])
    finally:
        shell.kill()
        shell.communicate()
    heading, *rows = (
        CalamineWorkbook.from_path(tmp_path / "day.xlsx").get_sheet_by_index(0).to_python()
    )
    assert heading[:3] == ["分录号", "记账日", "类型"] and len(rows) == 9
    assert (tmp_path / "settlement.pdf").read_bytes().startswith(b"%PDF-")


def go_through(shell: "subprocess.Popen[str]", blocks: list[tuple[str, str]]) -> None:
    output = ""
    for kind, block in blocks:
        if kind == "bash":
            output = output_of(shell, block)
        else:
            for line in block.strip().splitlines():
                assert plain(line).strip() in plain(output), (line, output)
