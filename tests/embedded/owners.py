"""Services that hold a data folder, each in its own process, and their engines."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil

GONE_SECONDS_MAX = 30.0


@dataclass
class Owner:
    """A running `hold_folder.py`, and the first line of its output."""

    process: "subprocess.Popen[str]"
    first_line: dict[str, Any] = field(default_factory=dict)

    def next_line(self) -> dict[str, Any]:
        assert self.process.stdout
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def leave(self) -> int:
        """Let it stop its engines and end; its exit code."""
        with self.process as process:
            assert process.stdin
            process.stdin.close()
        return self.process.returncode


def begin(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """Start a service on the folder, in a process group of its own as a terminal does."""
    script = Path(__file__).with_name("hold_folder.py")
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def engine_pids(folder: Path) -> list[int]:
    """By the engines' own pid files."""
    files = (folder / "postgres" / "postmaster.pid", folder / "valkey" / "valkey.pid")
    return [int(file.read_text().split()[0]) for file in files]


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GONE_SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def all_gone(pids: list[int]) -> bool:
    return not any(is_alive(pid) for pid in pids)


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def query(database_url: str, statement: str) -> Any:
    """The first value that the statement gives."""

    async def ask() -> Any:
        connection = await asyncpg.connect(database_url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())
