"""HTTP/1.1 on a socket: bounds on the head's size, on a client's time, and on connections.

uvicorn's own protocol waits for a slow client without limit, takes heads of any size, and answers
malformed HTTP in plain text.

An ordinary request for one of the edge's shortcuts goes to the edge when its body is whole, and
its answer leaves in one write. Any other request goes through ASGI (`service.server.whole`).
"""

import asyncio
import json
from itertools import chain
from typing import Any

from uuid_utils import uuid7
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.bounds import BODY_S
from service.api.edge import CONTENT_POLICY, NO_STORE, SAFE_HEADERS, Edge, own_headers
from service.api.problems import MEDIA_TYPE, preferred_language, problem_body
from service.core.sentences import Language
from service.server.whole import WholeRequest, whole_request

# Ten times what a till sends through two proxies.
HEAD_MAX_BYTES = 32 * 1024
# From the connection, or from the first byte of the next request, to the end of the head.
HEAD_S = 10.0
# A client that reads nothing of its answer for so long hangs, and would hold an export's snapshot
# and database connection. (Progress over a slow line shows late: the kernel takes more of an answer
# only when a third of its buffer is empty.)
UNREAD_S = 120.0
# More than the limit of requests at a time: an idle till keeps its connection.
CONNECTIONS_MAX = 8192

# The headers that every answer has.
_SAFE = b"".join(
    name + b": " + value + b"\r\n" for name, value in (*SAFE_HEADERS, CONTENT_POLICY, NO_STORE)
)


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    _edge: Edge | None = None
    # The deadline of the current step in the loop's time, and one timer for all steps: a timer for
    # each step of each request would cost more.
    _deadline: float | None = None
    _deadline_timer: asyncio.TimerHandle | None = None
    # Bytes since the last byte of a body: a head, trailers, or a chunk's extensions.
    _head_bytes = 0
    _in_head = True
    # While an answer waits for the client: how much of it is unsent, and the next check's timer.
    _unsent_bytes = 0
    _unsent_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        edge = getattr(self.app, "middleware_stack", None)
        self._edge = edge if isinstance(edge, Edge) else None
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse("overloaded")
            return
        self._set_deadline_in(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        if self._unsent_timer is not None:
            self._unsent_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_MAX_BYTES:
            self._refuse("head_too_large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._set_deadline_in(HEAD_S)

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(map(len, chain.from_iterable(self.headers)))
        if size > HEAD_MAX_BYTES:
            self._refuse("head_too_large")
            return
        self._in_head = False
        self._head_bytes = 0
        edge = self._edge
        request = None if edge is None else whole_request(self, edge)
        if request is None:
            super().on_headers_complete()
        else:
            self.cycle = request  # type: ignore[assignment]
        body_s = BODY_S if edge is None else edge.bounds.of(self.scope.get("path", "")).body_s
        self._set_deadline_in(body_s)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        cycle: Any = self.cycle
        if type(cycle) is WholeRequest:
            if cycle.more_body:  # else the head behind it was refused
                cycle.body += body
        elif cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        self._set_deadline_in(None)
        cycle: Any = self.cycle
        if type(cycle) is WholeRequest:
            if cycle.more_body:
                cycle.more_body = False
                cycle.task = self.loop.create_task(self._answer(cycle))
                self.tasks.add(cycle.task)
        elif cycle is not None:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse("not_http")

    # --- shortcuts ----------------------------------------------------------------------

    async def _answer(self, request: WholeRequest) -> None:
        body = bytes(request.body)
        request.body.clear()  # an idle connection keeps its last request
        try:
            response = await request.edge.answer(request.endpoint, request.scope, body)
        finally:
            self.tasks.discard(request.task)
        if request.disconnected or self.transport.is_closing():
            return
        head: list[bytes | memoryview] = [STATUS_LINE[response.status_code], _SAFE]
        for name, value in chain(response.raw_headers, own_headers(request.scope)):
            head += name, b": ", value, b"\r\n"
        end = b"\r\n" if request.keep_alive else b"connection: close\r\n\r\n"
        request.response_started = request.response_complete = True
        head += end, response.body
        self.transport.write(b"".join(head))
        if self.pipeline or not request.keep_alive:
            if not request.keep_alive:
                self.transport.close()
            self.on_response_complete()
            return
        # As `on_response_complete`, without a new timer for each answer.
        self.server_state.total_requests += 1
        if not self._in_head:  # the next request has not begun
            self._in_head = True
            self._set_deadline_in(self.timeout_keep_alive)

    # --- slow clients -------------------------------------------------------------------

    def _set_deadline_in(self, seconds: float | None) -> None:
        if seconds is None:
            self._deadline = None
            return
        self._deadline = self.loop.time() + seconds
        if self._deadline_timer is None:
            wait_s = min(seconds, self.timeout_keep_alive)
            self._deadline_timer = self.loop.call_later(wait_s, self._check_deadline)

    def _check_deadline(self) -> None:
        self._deadline_timer = None
        if self._deadline is None:
            return
        left_s = self._deadline - self.loop.time()
        if left_s <= 0:
            self._too_slow()
        else:  # a later step may set an earlier deadline, but none nearer than the keep-alive
            wait_s = min(left_s, self.timeout_keep_alive)
            self._deadline_timer = self.loop.call_later(wait_s, self._check_deadline)

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_head and self._head_bytes == 0:
            self.transport.close()  # it has sent no request
        elif self.cycle is not None and self.cycle.response_started:
            self.transport.close()
        else:
            self._refuse("too_slow")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        if self._unsent_timer is not None:
            self._unsent_timer.cancel()
        super().resume_writing()

    def _wait_for_reader(self) -> None:
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._unsent_timer = self.loop.call_later(UNREAD_S, self._check_reader)

    def _check_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._unsent_bytes:
            self._wait_for_reader()
        else:  # `close` would wait until everything is sent
            self.transport.abort()

    def _refuse(self, code: str) -> None:
        """Answer with the problem of this code, and close the connection."""
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
        """From the headers that have arrived so far."""
        accepted = dict(self.headers or ()).get(b"accept-language", b"")
        return preferred_language(accepted.decode("latin-1"))
