"""The parent of several workers: replaces workers that end or hang, and ends all of them.

uvicorn's own supervisor blocks while it waits for a worker's answer, and handles no SIGTERM
meanwhile. At the end it waits without limit for a worker that got a SIGSTOP.
"""

import os
import signal
import time
from contextlib import suppress
from socket import socket

import structlog
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

# A worker that is silent for longer is replaced. A new one loads for long on a busy machine, and
# would never come up if it was replaced before that.
WORKER_SILENT_S = 60

log = structlog.get_logger()


class Supervisor(Multiprocess):
    """Never blocks on a worker. At the end it waits `end_within_s`, then kills what is left."""

    def __init__(self, config: Config, sockets: list[socket], *, end_within_s: float) -> None:
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
            if process.exitcode == STARTUP_FAILURE:  # the next one would fail too
                log.error("worker_failed_to_start")
                self.should_exit.set()
                return
            log.warning("worker_replaced", exit_code=process.exitcode)
            self.processes[n] = Process(self.config, self.sockets)
            self.processes[n].start()

    def _silent(self, process: Process) -> bool:
        """Whether its answer is overdue. Pings it again once it has answered."""
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
        """The terminal is closed: end. uvicorn would replace the workers."""
        self.handle_term()

    def terminate_all(self) -> None:
        """Also wake workers that got a SIGSTOP, so that they answer what they have admitted."""
        super().terminate_all()
        for process in self.processes:
            if process.pid is not None and process.process.is_alive():
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)

    def join_all(self) -> None:
        deadline = time.monotonic() + self._end_within_s
        for process in self.processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            if process.process.is_alive():
                log.error("worker_killed")
                process.process.kill()
                process.process.join()
