"""The server: uvicorn with our protocol in this process, or in several workers."""

import gc
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.server import Server

from service.config import Misconfigured, Settings
from service.ops.logs import set_up_logs
from service.server.protocol import GuardedProtocol

if TYPE_CHECKING:
    from fastapi import FastAPI

# Longer than any claim's answer may take. With the time that closing takes afterwards
# (`wiring.CLOSE_S`) it stays below END_S.
DRAIN_S = 4

# Workers that have not ended by then are killed. The service promises to end within 10 s; the
# difference is for a busy machine.
END_S = 7.5


def run_server(settings: Settings, listener: socket.socket) -> None:
    """Serve on the socket until a signal. Raises Misconfigured if the application cannot start."""
    options: dict[str, Any] = {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "http": GuardedProtocol,
        "proxy_headers": False,  # nothing here reads the client's address
        "ws": "none",  # "auto" would let an installed library refuse upgrades with its own text
        "timeout_graceful_shutdown": DRAIN_S,
    }
    if settings.workers == 1:
        from service.api.app import make_app

        app = make_app(settings)
        _spare_the_collector()
        server = Server(Config(app, **options))
        server.run(sockets=[listener])
        if not server.started:
            raise Misconfigured("The service did not start; the lines above say why.")
        return
    from service.server.supervisor import Supervisor

    _pass_on(settings)
    set_up_logs(
        settings.log_format or ("console" if settings.sandbox else "json"), settings.log_level
    )
    with tempfile.TemporaryDirectory(prefix="butie-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        config = Config(
            "service.server.run:worker_app",
            factory=True,
            workers=settings.workers,
            **options,
        )
        Supervisor(config, [listener], end_within_s=END_S).run()


def _pass_on(settings: Settings) -> None:
    """Put settings into the environment, where the workers, which are new processes, read them."""
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
    """Exempt loaded objects from collection; collect rarely, since a claim leaves no cycles."""
    from service.api.routes.batch import BatchBody

    BatchBody.model_rebuild()  # and the models in it: the first claim must not wait for that
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
