"""The parent of several workers: replaces those that end or fall silent, and ends them all.

uvicorn's own waits for a worker's answer, up to the time after which it replaces it, and hears
no SIGTERM meanwhile; and it waits for ever for a worker that was stopped.
"""

import os
import signal
import time
from contextlib import suppress
from socket import socket

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

# A worker that is silent for longer is replaced. On a busy machine it takes a while until it has
# loaded everything; replaced before that, it would never come up.
WORKER_SILENT_S = 60

log = structlog.get_logger()


class Supervisor(Multiprocess):
    """Never waits for a worker; at the end for `end_within_s`, and what is left then is killed."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket], *, end_within_s: float
    ) -> None:
        super().__init__(config, sockets)
        self._end_within_s = end_within_s
        self._asked_at: dict[Process, float] = {}

    def keep_subprocess_alive(self) -> None:
        for n, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.process.is_alive() and not self._silent(process):
                continue
            self._asked_at.pop(process, None)
            process.kill()
            process.join()
            if process.exitcode == STARTUP_FAILURE:  # it would fail again and again
                log.error("worker_failed_to_start")
                self.should_exit.set()
                return
            log.warning("worker_replaced", exit_code=process.exitcode)
            self.processes[n] = Process(self.config, self.sockets)
            self.processes[n].start()

    def _silent(self, process: Process) -> bool:
        """Look whether it has answered; ask it again if so."""
        now = time.monotonic()
        try:
            if process in self._asked_at:
                if not process.parent_conn.poll():
                    return now - self._asked_at[process] > WORKER_SILENT_S
                process.parent_conn.recv()
            process.parent_conn.send(b"ping")
        except (OSError, EOFError):
            return True
        self._asked_at[process] = now
        return False

    def handle_hup(self) -> None:
        """Its terminal is closed. uvicorn's own puts new workers in the place of these."""
        self.handle_term()

    def terminate_all(self) -> None:
        """Also wakes whoever was stopped: it answers what it has admitted, and ends in order."""
        super().terminate_all()
        for process in self.processes:
            if process.pid is not None and process.process.is_alive():
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)

    def join_all(self) -> None:
        until = time.monotonic() + self._end_within_s
        for process in self.processes:
            process.process.join(max(0.0, until - time.monotonic()))
            if process.process.is_alive():
                log.error("worker_killed")
                process.process.kill()
                process.process.join()
