"""Starts the compared servers, each in a new process, and reads their CPU time."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import psutil

from loadtests.bench.traffic import Target

UP_WITHIN_S = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    target: Target
    process: psutil.Process

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds so far, by program: service, postgres, valkey."""
        spent = {"service": 0.0, "postgres": 0.0, "valkey": 0.0}
        for process in [self.process, *self.process.children(recursive=True)]:
            try:
                name, times = process.name(), process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            program = next(
                (engine for engine in ("postgres", "valkey") if engine in name), "service"
            )
            spent[program] += times.user + times.system
            if program == "postgres":  # the parent counts the backends that have ended
                spent[program] += times.children_user + times.children_system
        return spent


@contextmanager
def sandbox(
    folder: Path, *, workers: int = 1, module: str = "service", **settings: str
) -> Iterator[Server]:
    """A sandbox on `folder`. `module` is run as `butie`."""
    command = [sys.executable, "-m", module, "serve"]
    environment = {"BUTIE_DATA_DIR": str(folder), "BUTIE_WORKERS": str(workers), **settings}
    with running(command, "BUTIE_PORT", environment) as (port, process):
        access = json.loads((folder / "sandbox.json").read_text())
        yield Server(Target(port, access["clock"], access["keys"]["pos"]), process)


@contextmanager
def app(name: str, sold_at: str, *, workers: int = 1, **settings: str) -> Iterator[Server]:
    """One of `loadtests.apps` under uvicorn, with the settings that `butie serve` uses."""
    command = [
        *(sys.executable, "-m", "uvicorn", f"loadtests.apps.{name}:app"),
        *("--no-access-log", "--log-level", "warning", "--workers", str(workers)),
    ]
    with running(command, "UVICORN_PORT", settings) as (port, process):
        yield Server(Target(port, sold_at, "none"), process)


@contextmanager
def running(
    command: list[str], port_name: str, environment: dict[str, str]
) -> Iterator[tuple[int, psutil.Process]]:
    """The command as a server on a free port, which it gets as `port_name`."""
    port = free_port()
    with tempfile.TemporaryFile() as errors:
        process = psutil.Popen(
            command,
            env=os.environ | {"BUTIE_LOG_LEVEL": "warning", port_name: str(port)} | environment,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            _wait_until_up(port, process)
            yield port, process
        except BaseException:
            errors.seek(0)
            sys.stderr.write(errors.read().decode())
            raise
        finally:
            process.terminate()
            process.wait(timeout=60)


def free_port() -> int:
    with socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_up(port: int, process: psutil.Popen) -> None:
    until = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError("The server did not start.")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("The server did not come up.")
