"""Restarts an engine that dies while the sandbox runs."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from service.embedded.engine import Engine, cause_of_end, come_up, come_up_again, stop
from service.embedded.fault import EmbeddedError, explained
from service.embedded.process import POLL_SECONDS

# An engine that dies so soon after a restart would die after the next one too.
AT_ONCE_SECONDS = 5.0


@dataclass
class Restarts:
    """What the restarts of one sandbox share.

    `say` gets one sentence for each restart, from a thread of its own. `fault` is set when an
    engine cannot be kept running; the process then gets a SIGTERM, as if somebody had ended it.
    """

    say: Callable[[str], None]
    fault: EmbeddedError | None = None

    def give_up(self, fault: EmbeddedError) -> None:
        self.fault = fault
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def running(engine: Engine, restarts: Restarts | None) -> Iterator[int]:
    """Run the engine and yield its port. Without `restarts`, an engine that dies stays dead.

    Raises EmbeddedError if it does not come up.
    """
    process, port = come_up(engine)
    kept = restarts and KeptRunning(engine, process, port, restarts)
    try:
        yield port
    finally:
        if kept:
            kept.stop()
        else:
            stop(engine, process)


class KeptRunning:
    """An engine that is started again, on the same port, whenever it ends before `stop`."""

    def __init__(
        self, engine: Engine, process: "subprocess.Popen[bytes]", port: int, restarts: Restarts
    ) -> None:
        self._engine = engine
        self._process = process
        self._port = port
        self._restarts = restarts
        self._stopping = threading.Event()
        # The kernel stops an engine when the thread that spawned it ends, so this one thread both
        # restarts the engine and waits for it.
        self._thread = threading.Thread(target=self._watch, name=engine.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the engine and return when it and its thread have ended."""
        self._stopping.set()
        while self._thread.is_alive():
            stop(self._engine, self._process)
            self._thread.join(POLL_SECONDS)
        stop(self._engine, self._process)  # for a thread that has ended by a fault

    def _watch(self) -> None:
        try:
            with explained(self._engine.home.path):
                self._restart_for_ever()
        except EmbeddedError as fault:
            if not self._stopping.is_set():
                self._restarts.give_up(fault)

    def _restart_for_ever(self) -> None:
        """Return when the engine is stopped. Raises EmbeddedError when a restart does not help."""
        restarted_at = float("-inf")
        while True:
            cause = cause_of_end(self._process.wait())
            if self._stopping.is_set():
                return
            if time.monotonic() - restarted_at < AT_ONCE_SECONDS:
                raise EmbeddedError(
                    f"{self._engine.name} ended again at once after a restart ({cause}), so the "
                    f"sandbox has ended too; {self._engine.log} may say why, and the data in "
                    f"{self._engine.home.path} are kept"
                )
            self._process = come_up_again(self._engine, self._port, self._stopping)
            restarted_at = time.monotonic()
            with suppress(OSError, ValueError):  # a console that is closed or cannot show it
                self._restarts.say(
                    f"{self._engine.name} had ended ({cause}) and was restarted on its port, "
                    f"{self._port}."
                )
