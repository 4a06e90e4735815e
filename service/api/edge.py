"""The outermost layer: request id, size limit, metrics, access log, safe headers.

Plain ASGI, once around the whole app: a request passes it in microseconds.
"""

import re
import time
from dataclasses import dataclass

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from service import metrics
from service.api.problems import problem

log = structlog.get_logger()

GOOD_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")

QUIET_ROUTES = {"/healthz", "/readyz", "/metrics"}

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class BodyTooLarge(Exception):
    """The body passed the limit."""


@dataclass(slots=True)
class Edge:
    """Wraps `app`. Bodies over `body_max_bytes` are refused, announced or not."""

    app: ASGIApp
    body_max_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = scope["butie.request_id"] = _request_id(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            if _announced_length(scope) > self.body_max_bytes:
                refusal = problem(Request(scope), "body_too_large")
                await refusal(scope, receive, send_with_headers)
            else:
                await self.app(scope, self._counted(receive), send_with_headers)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _counted(self, receive: Receive) -> Receive:
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.body_max_bytes:
                raise BodyTooLarge
            return message

        return counted

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")  # a template, so bounded
        metrics.requests.labels(route, status).observe(seconds)
        # Probes and scrapes come all day and say nothing.
        say = log.debug if route in QUIET_ROUTES else log.info
        say(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
        )


def _request_id(scope: Scope) -> str:
    """The caller's own id, if it is harmless in logs and headers; else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and GOOD_REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return str(uuid7())


def _announced_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
