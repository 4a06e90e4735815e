"""A streaming standby of the tests' PostgreSQL: pg_basebackup, then a second server."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from service.embedded import postgres
from service.embedded.folder import engines_account
from service.embedded.process import run, spawn

WAIT_S = 60


@contextmanager
def standby_of(server_url: str, folder: Path) -> Iterator[str]:
    """The standby's URL, without a database at its end."""
    primary = urlsplit(server_url)
    cluster = folder / "standby"
    cluster.mkdir(mode=0o700)
    account = engines_account(folder)
    if account is not None:
        os.chown(cluster, account.uid, account.gid)
    backup = [postgres.program("pg_basebackup"), "-d", server_url, "-D", str(cluster)]
    run([*backup, "-R", "-X", "stream", "--checkpoint=fast"], account, cluster, "")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"port": port, "unix_socket_directories": "", "listen_addresses": "127.0.0.1",
                "max_connections": 200, "hot_standby_feedback": "on", "shared_buffers": "32MB",
                "fsync": "off"}  # fmt: skip
    command = [postgres.program("postgres"), "-D", str(cluster)]
    command += [f"--{name}={value}" for name, value in settings.items()]
    with open(folder / "standby.log", "wb") as log:
        server = spawn(command, account, signal.SIGQUIT, folder=cluster, log=log)
    try:
        _until_ready(cluster / "postmaster.pid", server.pid)
        yield f"postgresql://{primary.username}:{primary.password}@127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _until_ready(pid_file: Path, pid: int) -> None:
    give_up = time.monotonic() + WAIT_S
    while not postgres.is_ready(pid_file, pid):
        if time.monotonic() > give_up:
            raise TimeoutError("the standby does not come up: see standby.log")
        time.sleep(0.05)
