"""The outermost layer: request id, size and concurrency limits, metrics, access log, headers,
and the answer to whatever goes wrong.

Plain ASGI, once around the whole app: a request passes it in microseconds.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from service import metrics
from service.api.problems import problem

log = structlog.get_logger()

# A UUID, a trace id or a ULID: nothing in which somebody's ID number could come into the logs.
GOOD_REQUEST_ID = re.compile(
    rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    rb"|[0-9a-fA-F]{32}|[0-7][0-9A-HJKMNP-TV-Z]{25}"
)

# Asked by machines that must get through when everything else has to wait.
QUIET_PATHS = {"/healthz", "/readyz", "/metrics"}

SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
NO_STORE = (b"cache-control", b"no-store")
# Nothing of ours is a page, but for the API's documentation with its own script.
NO_PAGE = b"default-src 'none'; frame-ancestors 'none'"
DOCS_PAGE = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; frame-ancestors 'none'"
)

Endpoint = Callable[[Request], Awaitable[Response]]


class BodyTooLarge(Exception):
    """The body passed the limit."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is taken at once: bytes of a body, by path where it differs, and requests."""

    body_max_bytes: int
    body_max_bytes_of: Mapping[str, int]
    requests_max: int

    def body_max(self, path: str) -> int:
        return self.body_max_bytes_of.get(path, self.body_max_bytes)


@dataclass(slots=True)
class Edge:
    """Wraps `app`. Requests for `shortcuts` (method, path) are answered without it: what a
    framework does for each request costs more than a claim. `on_fault` makes the answer to an
    exception that nothing else has answered."""

    app: ASGIApp
    bounds: Bounds
    shortcuts: Mapping[tuple[str, str], Endpoint]
    on_fault: Callable[[Request, Exception], Awaitable[Response]]
    _under_way: int = field(default=0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = scope["butie.request_id"] = _request_id(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(scope, message, request_id)
            await send(message)

        self._under_way += 1
        try:
            await self._answer(scope, receive, send_with_headers)
        except Exception as error:
            response = await self.on_fault(Request(scope), error)
            if not status:  # else the caller has the beginning of another answer
                await response(scope, receive, send_with_headers)
        finally:
            self._under_way -= 1
            self._record(scope, status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        body_max = self.bounds.body_max(path)
        if self._under_way > self.bounds.requests_max and path not in QUIET_PATHS:
            response: Response = problem(Request(scope), "overloaded")
        elif _announced_length(scope) > body_max:
            response = problem(Request(scope), "body_too_large")
        elif (endpoint := self.shortcuts.get((scope["method"], path))) is not None:
            response = await endpoint(Request(scope, _counted(receive, body_max)))
        else:
            await self.app(scope, _counted(receive, body_max), send)
            return
        await response(scope, receive, send)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")  # a template, so bounded
        metrics.requests.labels(route, status).observe(seconds)
        # Probes and scrapes come all day and say nothing.
        say = log.debug if route in QUIET_PATHS else log.info
        say(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
        )


def _add_headers(scope: Scope, message: Message, request_id: str) -> None:
    headers = message["headers"] = list(message["headers"])
    known = dict(headers)
    page = known.get(b"content-type", b"").startswith(b"text/html")
    headers += SAFE_HEADERS
    headers.append((b"x-request-id", request_id.encode()))
    headers.append((b"content-security-policy", DOCS_PAGE if page else NO_PAGE))
    if NO_STORE[0] not in known:
        headers.append(NO_STORE)
    headers += scope.get("butie.rate_headers", ())


def _counted(receive: Receive, body_max: int) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > body_max:
            raise BodyTooLarge
        return message

    return counted


def _request_id(scope: Scope) -> str:
    """The caller's own id, if it can be nothing else; else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and GOOD_REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return str(uuid7())


def _announced_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
