"""Starts and stops an engine, and clears what an earlier start left."""

import importlib.util
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.embedded.fault import EmbeddedError
from service.embedded.folder import Home, already_running
from service.embedded.process import POLL_SECONDS, end, find_leftover, spawn

COME_UP_SECONDS_MAX = 300.0  # after a crash PostgreSQL may replay a gigabyte of WAL
PORT_ATTEMPTS_MAX = 5
PORT_TAKEN = "Address already in use"
# The sessions of a killed PostgreSQL take a moment to end, and keep its shared memory until then.
MEMORY_TAKEN = "pre-existing shared memory block"
REMAINS_SECONDS_MAX = 30.0
REMAINS_POLL_SECONDS = 0.2
NEVER = threading.Event()
LOG_BYTES_MAX = 10 * 2**20  # a longer log is renamed at the next start; one older log is kept


@dataclass(frozen=True)
class Engine:
    """How to run one engine."""

    name: str
    home: Home
    folder: Path  # the engine's own, and its working directory
    pid_file: Path  # written by the engine itself
    identity: str  # an argument on its command line that no other process has
    command: Callable[[int], list[str]]  # by port; `identity` and `owner_mark()` are in it
    ready: Callable[[int, int], bool]  # by pid and port: does it answer?
    stop_signals: tuple[signal.Signals, ...]  # the gentle first

    @property
    def log(self) -> Path:
        return self.home.path / f"{self.folder.name}.log"


# The sessions of a killed server write into the log of the next one, which turns others away while
# it starts.
OF_SESSIONS = ("unexpected postmaster exit", "the database system is")


class NotReadyError(Exception):
    """The engine ended, or took too long, before it was ready; `log` is what it wrote."""

    log = ""


def wheel_file(package: str, pattern: str) -> str:
    """A file in an installed wheel, found without running the wheel's own code.

    Raises EmbeddedError if the wheel is not installed, as in production.
    """
    spec = importlib.util.find_spec(package)
    for root in (spec and spec.submodule_search_locations) or ():
        for path in Path(root).glob(pattern):
            return str(path)
    raise EmbeddedError(
        f"the sandbox's engines are not installed ({package}): pip install 'butie[sandbox]', "
        "or set BUTIE_DATABASE_URL and BUTIE_REDIS_URL to engines of your own"
    )


def clear_leftover(engine: Engine) -> None:
    """Stop an engine that a killed service has left running, and delete its pid file.

    Raises EmbeddedError if its service is alive, which happens when the lock file was deleted.
    """
    if leftover := find_leftover(engine.pid_file, engine.identity):
        if owner := leftover.owner():
            raise already_running(engine.home.path, str(owner))
        if not end(engine.stop_signals, leftover.send, leftover.gone):
            raise EmbeddedError(
                f"{engine.name} of an earlier start (pid {leftover.pid}) still runs on "
                f"{engine.home.path} and cannot be stopped; end that process first"
            )
    # PostgreSQL would take an unrelated process or a zombie with that pid for a running server.
    engine.pid_file.unlink(missing_ok=True)


def come_up(engine: Engine) -> tuple["subprocess.Popen[bytes]", int]:
    """Start the engine on a free port, and return the port as well.

    Tries another port if somebody takes the first one meanwhile. Raises EmbeddedError.
    """
    set_long_log_aside(engine.log)
    attempt = 1
    while True:
        port = free_port()
        try:
            return attempt_start(engine, port), port
        except NotReadyError as fault:
            if PORT_TAKEN not in fault.log or attempt == PORT_ATTEMPTS_MAX:
                raise did_not_start(engine, fault) from None
        attempt += 1


def come_up_again(
    engine: Engine, port: int, cancelled: threading.Event
) -> "subprocess.Popen[bytes]":
    """Start an engine that has died on its former port, which is the one its clients know.

    While sessions of the dead one still hold its port or memory, tries again for up to
    REMAINS_SECONDS_MAX. Raises EmbeddedError, also when cancelled, with nothing left running.
    """
    deadline = time.monotonic() + REMAINS_SECONDS_MAX
    while True:
        try:
            return attempt_start(engine, port, cancelled)
        except NotReadyError as fault:
            held = any(sentence in fault.log for sentence in (PORT_TAKEN, MEMORY_TAKEN))
            if not held or time.monotonic() > deadline or cancelled.wait(REMAINS_POLL_SECONDS):
                raise EmbeddedError(
                    f"{engine.name} had died and could not be restarted, so the sandbox has ended "
                    f"too: {fault}; {engine.log} ends: {last_words(fault.log)}; the data in "
                    f"{engine.home.path} are kept"
                ) from None


def did_not_start(engine: Engine, fault: "NotReadyError") -> EmbeddedError:
    last = last_words(fault.log)
    return EmbeddedError(f"{engine.name} did not start: {fault}; {engine.log} ends: {last}")


def attempt_start(
    engine: Engine, port: int, cancelled: threading.Event = NEVER
) -> "subprocess.Popen[bytes]":
    """Start the engine on `port`. Raises NotReadyError, with nothing left running."""
    log_bytes_before = engine.log.stat().st_size if engine.log.exists() else 0
    with open(engine.log, "ab", opener=private_opener) as log:
        engine.home.hand_over(engine.log)
        process = spawn(
            engine.command(port),
            engine.home.account,
            engine.stop_signals[0],
            folder=engine.folder,
            log=log,
        )
    try:
        wait_until_ready(engine, process, port, cancelled)
    except BaseException as fault:  # a Ctrl-C too
        stop(engine, process)
        if isinstance(fault, NotReadyError):
            fault.log = engine.log.read_bytes()[log_bytes_before:].decode(errors="replace")
        raise
    return process


def wait_until_ready(
    engine: Engine, process: "subprocess.Popen[bytes]", port: int, cancelled: threading.Event
) -> None:
    """Return when the engine answers. Raises NotReadyError."""
    deadline = time.monotonic() + COME_UP_SECONDS_MAX
    while time.monotonic() < deadline:
        if engine.ready(process.pid, port):
            return
        if (status := process.poll()) is not None:
            raise NotReadyError(f"it ended with {cause_of_end(status)}")
        if cancelled.wait(POLL_SECONDS):
            raise NotReadyError("it was stopped before that")
    raise NotReadyError(f"it was not ready after {COME_UP_SECONDS_MAX:.0f} s")


def stop(engine: Engine, process: "subprocess.Popen[bytes]") -> None:
    """End our child and reap it."""
    if process.poll() is None:
        end(engine.stop_signals, process.send_signal, lambda: process.poll() is not None)


def cause_of_end(status: int) -> str:
    """A process's status, as Popen gives it, in words."""
    return f"status {status}" if status >= 0 else f"signal {-status}"


def free_port() -> int:
    """A TCP port that is free on 127.0.0.1 now, and may not be in a moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def set_long_log_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(f"{log}.1")


def last_words(log: str) -> str:
    """The line of an engine's log that says why it ended: PostgreSQL marks it, Valkey's is last."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    fatal = (
        line
        for line in lines
        if ("FATAL" in line or "PANIC" in line) and not any(words in line for words in OF_SESSIONS)
    )
    return next(fatal, lines[-1] if lines else "(nothing)")
