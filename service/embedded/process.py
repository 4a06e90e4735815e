"""Starts processes that end with this one, ends them, and recognises our leftover engines."""

import importlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from service.embedded import launch
from service.embedded.folder import Account

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 10.0  # after each stop signal, before the next, stronger one
OWNER_MARK = "butie-"


def owner_mark() -> str:
    """An argument on each engine's command line that names the service it belongs to."""
    return f"{OWNER_MARK}{os.getpid()}"


def spawn(
    command: Sequence[str],
    account: Account | None,
    death_signal: signal.Signals,
    *,
    folder: Path,
    log: IO[bytes],
) -> "subprocess.Popen[bytes]":
    """Start an engine in a session of its own, so that it does not get the terminal's Ctrl-C."""
    return subprocess.Popen(
        launched(command, account, death_signal),
        cwd=folder,
        env=engines_environment(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run(command: Sequence[str], account: Account | None, folder: Path, stdin: str) -> None:
    """Run a command to its end. Raises CalledProcessError, with all it printed as `output`."""
    subprocess.run(
        launched(command, account, signal.SIGTERM),
        cwd=folder,
        env=engines_environment(),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        check=True,
    )


def launched(
    command: Sequence[str], account: Account | None, death_signal: signal.Signals
) -> list[str]:
    """`command` as `account`; on Linux it gets `death_signal` when the calling thread ends."""
    uid, gid = account or ("-", "-")
    arguments = (os.getpid(), int(death_signal), uid, gid)
    return [sys.executable, "-I", "-S", launch.__file__, *map(str, arguments), *command]


def engines_environment() -> dict[str, str]:
    """Our environment without BUTIE_* and PG* variables, and with messages in English."""
    ours = {
        name: text for name, text in os.environ.items() if not name.startswith(("BUTIE_", "PG"))
    }
    return ours | {"LC_ALL": "C"}


def end(
    signals: Sequence[signal.Signals], send: Callable[[int], None], gone: Callable[[], bool]
) -> bool:
    """Send each signal in turn, and SIGKILL last, until the process is gone."""
    for number in (*signals, signal.SIGKILL):
        send(number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if gone():
                return True
            time.sleep(POLL_SECONDS)
    return False


class Leftover:
    """An engine of an earlier start that still runs on our folder."""

    def __init__(self, pid: int) -> None:
        """Raises LookupError if there is no such process."""
        # Installed with the sandbox's wheels. Production does not have it, and never gets here.
        self._psutil = importlib.import_module("psutil")
        self.pid = pid
        try:
            self._process = self._psutil.Process(pid)
            self.arguments: list[str] = self._process.cmdline()
        except self._psutil.Error:
            raise LookupError(pid) from None

    def owner(self) -> int | None:
        """The pid of the service that it belongs to, if that one is still alive.

        An orphan's parent is not the service that its command line names. So neither a lost lock
        file nor a reused pid misleads us.
        """
        marks = [re.fullmatch(rf"(?:.*=)?{OWNER_MARK}(\d+)", text) for text in self.arguments]
        named = next((int(mark[1]) for mark in marks if mark), None)
        try:
            return named if self._process.ppid() == named else None
        except self._psutil.Error:
            return None

    def gone(self) -> bool:
        """A zombie counts as gone, because a container's first process may never reap it."""
        try:
            return bool(self._process.status() == self._psutil.STATUS_ZOMBIE)
        except self._psutil.Error:
            return True

    def send(self, number: int) -> None:
        try:
            self._process.send_signal(number)
        except self._psutil.NoSuchProcess:
            return


def find_leftover(pid_file: Path, identity: str) -> Leftover | None:
    """The live process that `pid_file` names, if its command line has the argument `identity`.

    After a crash or a reboot the pid may belong to an unrelated process, which gets no signal.
    """
    try:
        leftover = Leftover(int(pid_file.read_text().split()[0]))
    except (FileNotFoundError, IndexError, ValueError, LookupError):
        return None
    return leftover if identity in leftover.arguments and not leftover.gone() else None
