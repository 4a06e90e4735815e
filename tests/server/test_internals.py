"""The parts of uvicorn and redis-py that we use and that they do not promise.

An upgrade that moves one fails here first, with a sentence. Then compare our subclass with the new
source, and raise the upper bound in pyproject.toml with it.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import pytest
import redis.asyncio as redis
import uvicorn
from redis.asyncio.connection import AbstractConnection
from redis.commands.core import AsyncScript
from uvicorn import config
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState
from uvicorn.supervisors.multiprocess import Multiprocess, Process

pytestmark = pytest.mark.anyio

# By our file: the methods of theirs that it overrides or calls, with their parameters.
METHODS: Mapping[str, Mapping[Callable[..., Any], str]] = {
    "service/server/protocol.py": {
        HttpToolsProtocol.connection_made: "transport",
        HttpToolsProtocol.connection_lost: "exc",
        HttpToolsProtocol.data_received: "data",
        HttpToolsProtocol.on_message_begin: "",
        HttpToolsProtocol.on_headers_complete: "",
        HttpToolsProtocol.on_body: "body",
        HttpToolsProtocol.on_message_complete: "",
        HttpToolsProtocol.send_400_response: "msg",
        HttpToolsProtocol._start_asgi_task: "cycle app",
        HttpToolsProtocol.pause_writing: "",
        HttpToolsProtocol.resume_writing: "",
        RequestResponseCycle.receive: "",
    },
    "service/server/supervisor.py": {
        Multiprocess.__init__: "config sockets",
        Multiprocess.run: "",
        Multiprocess.keep_subprocess_alive: "",
        Multiprocess.handle_hup: "",
        Multiprocess.handle_term: "",
        Multiprocess.terminate_all: "",
        Multiprocess.join_all: "",
        Process.__init__: "config sockets",
        Process.start: "",
        Process.kill: "",
        Process.join: "",
    },
    "service/server/run.py": {Server.run: "sockets"},
    "service/claims/gate/connection.py": {
        AbstractConnection.pack_command: "args",
        AbstractConnection.on_connect: "",
        AbstractConnection.send_command: "args kwargs",
        AsyncScript.__call__: "keys args client",
    },
}

# The methods of theirs that must go on calling one of those above, or we are not asked.
CALLS = {
    HttpToolsProtocol.data_received: "send_400_response",
    HttpToolsProtocol.on_headers_complete: "_start_asgi_task",
    HttpToolsProtocol.on_response_complete: "_start_asgi_task",
    Multiprocess.run: "keep_subprocess_alive terminate_all join_all",
    Process.always_pong: "pong",
    Process.pong: "recv send",
    AbstractConnection.connect_check_health: "redis_connect_func",
    AbstractConnection.send_command: "pack_command",
}


def gone(theirs: object, ours: str) -> str:
    package = "redis" if "gate" in ours else "uvicorn"
    return f"{package} {version(package)} has changed {theirs}, which {ours} relies on"


@pytest.mark.parametrize(
    ("ours", "method", "parameters"),
    [
        pytest.param(ours, method, parameters, id=method.__qualname__)
        for ours, methods in METHODS.items()
        for method, parameters in methods.items()
    ],
)
def test_a_method_takes_what_we_give_it(
    ours: str, method: Callable[..., Any], parameters: str
) -> None:
    _, *names = inspect.signature(method).parameters
    assert names == parameters.split(), gone(method.__qualname__, ours)


@pytest.mark.parametrize(
    ("method", "names"),
    [pytest.param(method, names, id=method.__qualname__) for method, names in CALLS.items()],
)
def test_a_method_calls_what_we_override(method: Any, names: str) -> None:
    ours = (
        "service/claims/gate/connection.py"
        if method.__qualname__.startswith("Abstract")
        else "service/server"
    )
    assert set(names.split()) <= set(method.__code__.co_names), gone(method.__qualname__, ours)


async def test_a_connection_and_its_request_have_the_attributes_that_we_use() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    protocol = HttpToolsProtocol(uvicorn.Config(app, ws="none"), ServerState(), {})
    protocol.on_message_begin()
    for name in (
        *("app", "scope", "cycle", "headers", "url"),
        *("loop", "tasks", "connections", "transport"),
    ):
        assert hasattr(protocol, name), gone(f"HttpToolsProtocol.{name}", "protocol.py")
    names = inspect.signature(RequestResponseCycle).parameters
    cycle = RequestResponseCycle(**dict.fromkeys(names))  # type: ignore[arg-type]
    for name in (
        *("scope", "disconnected", "more_body", "keep_alive", "message_event", "on_response"),
        *("response_started", "response_complete"),
    ):
        assert hasattr(cycle, name), gone(f"RequestResponseCycle.{name}", "protocol.py")
    assert httptools_impl.STATUS_LINE[409] == b"HTTP/1.1 409 Conflict\r\n", gone(
        "STATUS_LINE", "protocol.py"
    )


def test_the_supervisor_has_the_attributes_that_we_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    options = uvicorn.Config("service.server.run:worker_app", factory=True, workers=2)
    supervisor = Multiprocess(options, [])
    for name in ("config", "sockets", "processes", "should_exit"):
        assert hasattr(supervisor, name), gone(f"Multiprocess.{name}", "supervisor.py")
    worker = Process(options, [])
    for name in ("process", "parent_conn", "pid", "exitcode"):
        assert hasattr(worker, name), gone(f"Process.{name}", "supervisor.py")
    worker.parent_conn.close()
    worker.child_conn.close()
    assert isinstance(config.STARTUP_FAILURE, int), gone("STARTUP_FAILURE", "supervisor.py")


async def test_a_pool_makes_its_connections_of_the_class_that_we_set() -> None:
    """And hands each new one to `redis_connect_func`, before its first command."""
    greeted = []

    async def greet(connection: AbstractConnection) -> None:
        greeted.append(connection)

    pool = redis.ConnectionPool.from_url("redis://127.0.0.1:1/0", redis_connect_func=greet)
    pool.connection_class = type("Ours", (pool.connection_class,), {})
    connection = pool.make_connection()
    assert type(connection) is pool.connection_class, gone("ConnectionPool", "service/claims/gate")
    assert connection.redis_connect_func is greet, gone("redis_connect_func", "service/claims/gate")
