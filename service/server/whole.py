"""An ordinary request for one of the edge's shortcuts, which is answered without ASGI.

uvicorn makes a task and an event for each request when its head is there, and passes the body on
in messages. A claim's body is small and comes with its head. So its task begins when the body is
whole: one object, one task and no message.
"""

import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.edge import Edge, Endpoint

# A claim of 20 lines has 8 kB. So the bodies that all connections may hold stay below 256 MiB.
WHOLE_MAX_BYTES = 32 * 1024


class _NoEvent:
    """uvicorn sets a request's event when the connection ends."""

    def set(self) -> None:
        pass


@dataclass(slots=True, eq=False)
class WholeRequest:
    """Takes the place of uvicorn's RequestResponseCycle, with those of its fields that the protocol
    reads."""

    edge: Edge
    endpoint: Endpoint
    scope: Scope
    keep_alive: bool
    task: Any = None
    body: bytearray = field(default_factory=bytearray)
    more_body: bool = True
    disconnected: bool = False
    response_started: bool = False
    response_complete: bool = False
    message_event: ClassVar[_NoEvent] = _NoEvent()


def whole_request(protocol: HttpToolsProtocol, edge: Edge) -> WholeRequest | None:
    """The request whose head is complete, if it is for a shortcut and nothing about it is unusual.

    None: it goes through ASGI. That is a request behind another one on the same connection, and one
    whose head has something that uvicorn or the edge must judge before the body is read.
    """
    method = protocol.parser.get_method().decode("ascii")
    path = protocol.url.decode("latin-1")
    endpoint = edge.shortcuts.get((method, path))
    if endpoint is None or protocol.root_path or protocol.parser.get_http_version() != "1.1":
        return None
    if protocol.expect_100_continue or protocol.parser.should_upgrade():
        return None
    before = protocol.cycle
    if before is not None and not before.response_complete:
        return None
    if protocol.flow.write_paused:  # the client does not read its answers
        return None
    scope: Any = protocol.scope
    headers = scope["butie.headers"] = dict(reversed(protocol.headers))
    announced = headers.get(b"content-length", b"")
    body_max_bytes = min(WHOLE_MAX_BYTES, edge.bounds.of(path).body_max_bytes)
    if not announced.isdigit() or int(announced) > body_max_bytes:
        return None
    scope |= {
        "method": method,
        "path": path,
        "raw_path": protocol.url,
        "query_string": b"",
        "app": protocol.app,
        "butie.began": time.perf_counter(),
    }
    return WholeRequest(edge, endpoint, scope, protocol.parser.should_keep_alive())
