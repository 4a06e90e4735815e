"""The parts of uvicorn and redis-py that we use and that they do not promise.

An upgrade that moves one fails here first, with a sentence. Then compare our code with the new
source, and raise the upper bound in pyproject.toml with it.
"""

import inspect
import pkgutil
import re
from importlib.metadata import version
from typing import Any

import pytest

from service.server.whole import WholeRequest

pytestmark = pytest.mark.anyio

PROTOCOL = "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol"
CYCLE = "uvicorn.protocols.http.httptools_impl:RequestResponseCycle"
MULTIPROCESS = "uvicorn.supervisors.multiprocess:Multiprocess"
PROCESS = "uvicorn.supervisors.multiprocess:Process"
CONNECTION = "redis.asyncio.connection:AbstractConnection"

# By our file: the functions of theirs that it overrides or calls, with their parameters.
FUNCTIONS = {
    "service/server/protocol.py": {
        f"{PROTOCOL}.connection_made": "transport",
        f"{PROTOCOL}.connection_lost": "exc",
        f"{PROTOCOL}.data_received": "data",
        f"{PROTOCOL}.on_message_begin": "",
        f"{PROTOCOL}.on_headers_complete": "",
        f"{PROTOCOL}.on_body": "body",
        f"{PROTOCOL}.on_message_complete": "",
        f"{PROTOCOL}.send_400_response": "msg",
        f"{PROTOCOL}.on_response_complete": "",
        f"{PROTOCOL}.pause_writing": "",
        f"{PROTOCOL}.resume_writing": "",
    },
    "service/server/whole.py": {
        "httptools:HttpRequestParser.get_method": "",
        "httptools:HttpRequestParser.get_http_version": "",
        "httptools:HttpRequestParser.should_upgrade": "",
        "httptools:HttpRequestParser.should_keep_alive": "",
    },
    "service/server/supervisor.py": {
        f"{MULTIPROCESS}.__init__": "config sockets",
        f"{MULTIPROCESS}.run": "",
        f"{MULTIPROCESS}.keep_subprocess_alive": "",
        f"{MULTIPROCESS}.handle_hup": "",
        f"{MULTIPROCESS}.handle_term": "",
        f"{MULTIPROCESS}.terminate_all": "",
        f"{MULTIPROCESS}.join_all": "",
        f"{PROCESS}.__init__": "config sockets",
        f"{PROCESS}.start": "",
        f"{PROCESS}.kill": "",
        f"{PROCESS}.join": "",
    },
    "service/server/run.py": {"uvicorn.server:Server.run": "sockets"},
    "service/claims/gate/connection.py": {
        f"{CONNECTION}.pack_command": "args",
        f"{CONNECTION}.on_connect": "",
        f"{CONNECTION}.send_command": "args kwargs",
        "redis.commands.core:AsyncScript.__call__": "keys args client",
    },
}

# By function of theirs: the names that it must go on using, or our code is never called.
USES = {
    f"{PROTOCOL}.data_received": "send_400_response",
    f"{MULTIPROCESS}.run": "keep_subprocess_alive terminate_all join_all",
    f"{PROCESS}.always_pong": "pong",
    f"{PROCESS}.pong": "recv send",
    f"{CONNECTION}.connect_check_health": "redis_connect_func",
    f"{CONNECTION}.send_command": "pack_command",
}


def changed(theirs: str) -> str:
    """The sentence with which an upgrade fails."""
    package = theirs.partition(".")[0]
    ours = "service/claims/gate" if package == "redis" else "service/server"
    return f"{package} {version(package)} has changed {theirs}, which {ours} relies on"


def resolve(theirs: str) -> Any:
    try:
        return pkgutil.resolve_name(theirs)
    except (ImportError, AttributeError):
        pytest.fail(changed(theirs))


def require(holder: object, theirs: str, names: str) -> None:
    for name in names.split():
        assert hasattr(holder, name), changed(f"{theirs}.{name}")


@pytest.mark.parametrize(
    ("theirs", "parameters"), [pair for file in FUNCTIONS.values() for pair in file.items()]
)
def test_a_function_takes_what_we_give_it(theirs: str, parameters: str) -> None:
    _, *names = inspect.signature(resolve(theirs)).parameters
    assert names == parameters.split(), changed(theirs)


@pytest.mark.parametrize(("theirs", "names"), USES.items())
def test_a_function_calls_what_we_override(theirs: str, names: str) -> None:
    assert set(names.split()) <= set(resolve(theirs).__code__.co_names), changed(theirs)


def test_a_whole_request_has_what_the_protocol_reads_of_its_cycle() -> None:
    source = inspect.getsource(resolve(PROTOCOL))
    read = set(re.findall(r"(?:self\.|existing_)cycle\.(\w+)", source))
    assert {"response_complete", "keep_alive", "message_event", "body"} <= read
    missing = [name for name in read if not hasattr(WholeRequest, name)]
    assert not missing, changed(f"{CYCLE}: {missing}")


async def test_a_connection_and_its_request_have_the_attributes_that_we_use() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    config = resolve("uvicorn:Config")(app, ws="none")
    protocol = resolve(PROTOCOL)(config, resolve("uvicorn.server:ServerState")(), {})
    protocol.on_message_begin()
    require(protocol, PROTOCOL, "app scope cycle headers url loop tasks connections transport")
    require(protocol, PROTOCOL, "parser root_path expect_100_continue pipeline flow")
    require(protocol, PROTOCOL, "server_state timeout_keep_alive")
    parameters = inspect.signature(resolve(CYCLE)).parameters
    cycle = resolve(CYCLE)(**dict.fromkeys(parameters))
    require(cycle, CYCLE, "response_started response_complete")
    lines = "uvicorn.protocols.http.httptools_impl:STATUS_LINE"
    assert resolve(lines)[409] == b"HTTP/1.1 409 Conflict\r\n", changed(lines)


def test_the_supervisor_has_the_attributes_that_we_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    config = resolve("uvicorn:Config")("service.server.run:worker_app", factory=True, workers=2)
    require(resolve(MULTIPROCESS)(config, []), MULTIPROCESS, "config sockets processes should_exit")
    worker = resolve(PROCESS)(config, [])
    require(worker, PROCESS, "process parent_conn pid exitcode")
    worker.parent_conn.close()
    worker.child_conn.close()
    failure = "uvicorn.config:STARTUP_FAILURE"
    assert isinstance(resolve(failure), int), changed(failure)


async def test_a_pool_makes_its_connections_of_our_class_and_with_our_greeting() -> None:
    async def greet(connection: object) -> None:
        raise NotImplementedError

    theirs = "redis.asyncio:ConnectionPool"
    pool = resolve(theirs).from_url("redis://127.0.0.1:1/0", redis_connect_func=greet)
    pool.connection_class = type("Ours", (pool.connection_class,), {})
    connection = pool.make_connection()
    assert type(connection) is pool.connection_class, changed(f"{theirs}.connection_class")
    assert connection.redis_connect_func is greet, changed(f"{theirs}.redis_connect_func")
