"""HTTP as we take it from a socket: bounds on heads, on time, and on connections.

uvicorn's own protocol waits for a slow client for ever, takes heads of any size, and answers
what is no HTTP in plain text. What the edge answers by a shortcut leaves in one write.
"""

import asyncio
import json
from typing import Any

from uuid_utils import uuid7
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.api.bounds import BODY_S, Bounds
from service.api.edge import NO_PAGE, NO_STORE, SAFE_HEADERS, Edge, Endpoint
from service.api.problems import MEDIA_TYPE, preferred_language, problem_body
from service.core.sentences import Language

# Ten times what a till with a proxy or two in front of it sends.
HEAD_MAX_BYTES = 32 * 1024
# From the connection, or the first byte of the next request, to the head's end.
HEAD_S = 10.0
# A client that has taken nothing of its answer for so long has hung. It would keep an export's
# snapshot and connection for as long as its socket is there. (Over a poor line it takes a while to
# be seen to take something: the kernel asks for more when a third of its buffer is empty.)
TAKEN_S = 120.0
# More than the concurrency limit: an idle till keeps its connection.
CONNECTIONS_MAX = 8192

# What the edge adds to every answer, where the edge is not reached.
_SAFE = b"".join(
    name + b": " + value + b"\r\n"
    for name, value in (*SAFE_HEADERS, (b"content-security-policy", NO_PAGE), NO_STORE)
)


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    _bounds: Bounds | None = None
    # When what is expected must be here, in the loop's time, and the timer that looks: one that
    # is set anew for each step of each request would cost more.
    _expected_by: float | None = None
    _looking: asyncio.TimerHandle | None = None
    # What came since the last of a body: a head, trailers, a chunk's extensions.
    _head_bytes = 0
    _in_head = True
    # While an answer waits for the client: how much of it, and the timer that looks again.
    _untaken_bytes = 0
    _untaken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        edge = getattr(self.app, "middleware_stack", None)
        self._bounds = edge.bounds if isinstance(edge, Edge) else None
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse("overloaded")
            return
        self._expect_within(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._looking is not None:
            self._looking.cancel()
        if self._untaken is not None:
            self._untaken.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_MAX_BYTES:
            self._refuse("head_too_large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._expect_within(HEAD_S)

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_MAX_BYTES:
            self._refuse("head_too_large")
            return
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()
        bounds = self._bounds
        body_s = BODY_S if bounds is None else bounds.of(self.scope.get("path", "")).body_s
        self._expect_within(body_s)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        self._expect_within(None)
        if self.cycle is not None:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse("not_http")

    # --- shortcuts ----------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        edge = getattr(app, "middleware_stack", None)
        scope: Any = cycle.scope
        endpoint = edge.shortcut(scope) if isinstance(edge, Edge) else None
        if edge is None or endpoint is None:
            super()._start_asgi_task(cycle, app)
            return
        scope["app"] = app
        task = self.loop.create_task(self._answer(cycle, edge, endpoint))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _answer(self, cycle: RequestResponseCycle, edge: Edge, endpoint: Endpoint) -> None:
        whole: Any = cycle
        response = await edge.answer(endpoint, whole.scope, whole.receive)
        if cycle.disconnected:
            return
        if not cycle.more_body and cycle.keep_alive:
            end = b"\r\n"
        else:
            cycle.keep_alive, end = False, b"connection: close\r\n\r\n"
        head = [STATUS_LINE[response.status_code]]
        for name, value in response.raw_headers:
            head += name, b": ", value, b"\r\n"
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"".join((*head, end, response.body)))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    # --- slow clients -------------------------------------------------------------------

    def _expect_within(self, seconds: float | None) -> None:
        if seconds is None:
            self._expected_by = None
            return
        self._expected_by = self.loop.time() + seconds
        if self._looking is None:
            self._looking = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._looking = None
        if self._expected_by is None:
            return
        left_s = self._expected_by - self.loop.time()
        if left_s <= 0:
            self._too_slow()
        else:  # never further ahead than the next thing expected may be due
            self._looking = self.loop.call_later(min(left_s, HEAD_S), self._look)

    def _too_slow(self) -> None:
        self._expected_by = None
        if self._in_head and self._head_bytes == 0:
            self.transport.close()  # it has asked nothing
        elif self.cycle is not None and self.cycle.response_started:
            self.transport.close()
        else:
            self._refuse("too_slow")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
        super().resume_writing()

    def _wait_for_reader(self) -> None:
        self._untaken_bytes = self.transport.get_write_buffer_size()
        self._untaken = self.loop.call_later(TAKEN_S, self._look_at_reader)

    def _look_at_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._untaken_bytes:
            self._wait_for_reader()
        else:  # not `close`, which would wait until all is taken
            self.transport.abort()

    def _refuse(self, code: str) -> None:
        """Answer with this problem, and hang up."""
        if self.transport.is_closing():
            return
        request_id = str(uuid7())
        body: dict[str, Any] = problem_body(code, self._language(), request_id)
        content = json.dumps(body, ensure_ascii=False).encode()
        head = (
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n"
            f"x-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[body["status"]] + _SAFE + head.encode() + content)
        self.transport.close()

    def _language(self) -> Language:
        """As far as the head has come."""
        asked = dict(self.headers or ()).get(b"accept-language", b"")
        return preferred_language(asked.decode("latin-1"))
