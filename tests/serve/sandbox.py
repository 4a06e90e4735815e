"""`butie serve` as a process with a data folder of its own, and what a client sees of it."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

BUTIE = str(Path(sys.executable).with_name("butie"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment(folder: Path, **settings: str) -> dict[str, str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("BUTIE_")}
    return clean | {"BUTIE_DATA_DIR": str(folder / "data")} | settings


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A `butie serve` that is up, and the file of its output."""
    output = folder / "output.txt"
    port = settings.pop("BUTIE_PORT", str(free_port()))
    with output.open("w") as stream:
        process = subprocess.Popen(
            [BUTIE, "serve"],
            env=environment(folder, BUTIE_PORT=port, **settings),
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 110  # a busy machine is no fault
        while "Ctrl-C stops everything" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        yield process, output
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def paste(output: Path) -> dict[str, Any]:
    """Run the curl line that the welcome shows, without curl."""
    text = output.read_text()
    words = shlex.split(text[text.index("curl -s") : text.index("  API  ")])
    headers = dict(word.split(": ", 1) for word in words if re.match(r"[A-Z][\w-]+: ", word))
    body = words[words.index("-d") + 1].encode()
    request = urllib.request.Request(words[2], body, headers)
    with urllib.request.urlopen(request) as answer:
        claim: dict[str, Any] = json.load(answer)
    return claim


def scrape_until(base_url: str, line: str) -> str:
    """The metrics, as soon as they contain `line`."""
    deadline = time.monotonic() + 60
    shown = ""
    while line not in shown:
        assert time.monotonic() < deadline, shown
        with suppress(OSError), urllib.request.urlopen(base_url + "/metrics") as answer:
            shown = answer.read().decode()
    return shown


def read(folder: Path, path: str, role: str = "bureau") -> Any:
    known = json.loads((folder / "data" / "sandbox.json").read_text())
    request = urllib.request.Request(
        known["base_url"] + path, headers={"Authorization": f"Bearer {known['keys'][role]}"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def confirmed_fen(folder: Path) -> int:
    return int(read(folder, "/v1/budgets/appliances")["confirmed_fen"])


def refused(folder: Path, command: str = "serve", **settings: str) -> str:
    """The sentence of a command that exits with 1."""
    ended = subprocess.run(
        [BUTIE, command],
        env=environment(folder, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1, ended.stdout
    assert "Traceback" not in ended.stdout
    return ended.stdout
