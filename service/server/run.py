"""The server: uvicorn with our protocol in this process, or in several workers."""

import gc
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from service.config import Misconfigured, Settings
from service.ops.logs import set_up_logs
from service.server.protocol import GuardedProtocol
from service.server.supervisor import Supervisor

if TYPE_CHECKING:
    from fastapi import FastAPI

# Longer than any claim's answer may take: with what is closed then (`wiring.CLOSE_S`), a worker
# has ended in good time before it is killed.
DRAIN_S = 4

# In which workers must have ended; then they are killed. Enough before the 10 s in which the
# service ends that a busy machine can keep them.
END_S = 7.5


def run_server(settings: Settings, listener: socket.socket) -> None:
    """Serve on the socket until a signal."""
    options: dict[str, Any] = {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "http": GuardedProtocol,
        "proxy_headers": False,  # nothing here asks who the client is
        "ws": "none",  # else whatever is installed answers an upgrade, in its own words
        "timeout_graceful_shutdown": DRAIN_S,
    }
    if settings.workers == 1:
        from service.api.app import make_app

        app = make_app(settings)
        _spare_the_collector()
        server = uvicorn.Server(uvicorn.Config(app, **options))
        server.run(sockets=[listener])
        if not server.started:
            raise Misconfigured("The service did not start; the lines above say why.")
        return
    _pass_on(settings)
    set_up_logs(
        settings.log_format or ("console" if settings.sandbox else "json"), settings.log_level
    )
    with tempfile.TemporaryDirectory(prefix="butie-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        config = uvicorn.Config(
            "service.server.run:worker_app",
            factory=True,
            workers=settings.workers,
            **options,
        )
        Supervisor(config, [listener], end_within_s=END_S).run()


def _pass_on(settings: Settings) -> None:
    """The workers are new processes: they read their settings from the environment."""
    os.environ["BUTIE_DATABASE_URL"] = str(settings.database_url)
    os.environ["BUTIE_REDIS_URL"] = str(settings.redis_url)
    os.environ["BUTIE_SUPERVISOR_PID"] = str(os.getpid())
    if settings.sandbox_offset_s is not None:
        os.environ["BUTIE_SANDBOX_OFFSET_S"] = str(settings.sandbox_offset_s)


def worker_app() -> "FastAPI":
    """The application in a worker process, which does not outlive its supervisor."""
    from service.api.app import create_app
    from service.embedded.launch import die_with

    die_with(int(os.environ["BUTIE_SUPERVISOR_PID"]), signal.SIGTERM)
    app = create_app()
    _spare_the_collector()
    return app


def _spare_the_collector() -> None:
    """What is loaded by now stays, and a claim leaves no cycles behind: looking through all of it
    every 700 objects is time that the tills wait."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """The server's socket, bound before anything is started for it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise Misconfigured(
                f"Port {settings.port} on {settings.host} cannot be had ({error.strerror}): "
                "stop what uses it, or set BUTIE_PORT to another."
            ) from None
        listener.listen(2048)
        listener.set_inheritable(True)
        yield listener
