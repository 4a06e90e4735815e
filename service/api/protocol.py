"""HTTP as we take it from a socket: bounds on heads, on time, and on connections.

uvicorn's own protocol waits for a slow client for ever, takes heads of any size, and answers
what is no HTTP in plain text.
"""

import asyncio
import json
from typing import Any

from uuid_utils import uuid7
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.problems import MEDIA_TYPE, problem_body

# Ten times what a till with a proxy or two in front of it sends.
HEAD_MAX_BYTES = 32 * 1024
# From the connection, or the first byte of the next request, to the head's end.
HEAD_S = 10.0
# From the head's end to the body's: a batch of 4 MiB over a poor line.
BODY_S = 30.0
# More than the concurrency limit: an idle till keeps its connection.
CONNECTIONS_MAX = 8192


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse("overloaded")
            return
        self._expect_within(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_within(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_MAX_BYTES:
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
        self._expect_within(BODY_S)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._expect_within(None)
        if self.cycle is not None:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse("not_http")

    def _expect_within(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._too_slow) if seconds else None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_head and self._head_bytes == 0:
            self.transport.close()  # it has asked nothing
        elif self.cycle is not None and self.cycle.response_started:
            self.transport.close()
        else:
            self._refuse("too_slow")

    def _refuse(self, code: str) -> None:
        """Answer with this problem, and hang up."""
        if self.transport.is_closing():
            return
        request_id = str(uuid7())
        body: dict[str, Any] = problem_body(code, "zh", request_id)
        content = json.dumps(body, ensure_ascii=False).encode()
        head = (
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n"
            f"x-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[body["status"]] + head.encode() + content)
        self.transport.close()
