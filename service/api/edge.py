"""The outermost layer: request id, limits of size and concurrency, metrics, access log, headers,
and the answer to every exception.

It is plain ASGI around the whole app, and takes microseconds. A shortcut answers without the app;
the server's own protocol also calls it without ASGI. A framework's work per request costs more than
a claim.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from service import metrics
from service.api.bounds import Bound, Bounds
from service.api.problems import problem
from service.ops.logs import REQUEST_ID

log = structlog.get_logger()

# A UUID, a trace id or a ULID. A person's ID number, which must not reach the logs, is none.
GOOD_REQUEST_ID = re.compile(
    rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    rb"|[0-9a-fA-F]{32}|[0-7][0-9A-HJKMNP-TV-Z]{25}"
)

ENCODING, GZIP = b"content-encoding", b"gzip"

# Probes and scrapes: they are answered even when the worker is overloaded.
QUIET_PATHS = {"/healthz", "/readyz", "/metrics"}

# The methods that metrics name. A client may send any word.
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
NO_STORE = (b"cache-control", b"no-store")
# For answers that are no pages. The API's documentation runs its own script; the budget page brings
# a policy of its own.
CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
DOCS_PAGE = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; frame-ancestors 'none'"
)


class Call(Request):
    """A request as a shortcut gets it: with its body."""

    def __init__(self, scope: Scope, body: bytes) -> None:
        super().__init__(scope)
        self._body = body


class JsonResponse(Response):
    """A response of JSON that is bytes already. Starlette's makes its headers in a loop, which is
    most of what it costs."""

    def __init__(self, body: bytes, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
            *headers,
        ]


def header(request: Request, name: bytes) -> str:
    """The header of this name in lower case; the first of several, empty without one."""
    value: bytes = request.scope["butie.headers"].get(name, b"")
    return value.decode("latin-1")


def is_repeated(request: Request, name: bytes) -> bool:
    """Whether the header of this name in lower case was sent more than once."""
    sent: list[tuple[bytes, bytes]] = request.scope["headers"]
    if len(sent) == len(request.scope["butie.headers"]):
        return False
    return [each for each, _ in sent].count(name) > 1


Endpoint = Callable[[Request], Awaitable[Response]]


class BodyTooLarge(Exception):
    """The body is larger than its bound."""


@dataclass(slots=True)
class Edge:
    """Wraps `app`. `shortcuts`, by method and path, answer without it. `on_fault` answers the
    exceptions that the app did not handle."""

    app: ASGIApp
    bounds: Bounds
    shortcuts: Mapping[tuple[str, str], Endpoint]
    on_fault: Callable[[Request, Exception], Awaitable[Response]]
    _under_way: int = field(default=0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif (endpoint := self.shortcut(scope)) is not None:
            response = await self.answer(endpoint, scope, receive)
            response.raw_headers += (*SAFE_HEADERS, CONTENT_POLICY, NO_STORE, *own_headers(scope))
            await response(scope, receive, send)
        else:
            await self._pass_on(scope, receive, send)

    # --- shortcuts ----------------------------------------------------------------------

    def shortcut(self, scope: Scope) -> Endpoint | None:
        """The endpoint that answers this request without the app, if there is one."""
        return self.shortcuts.get((scope["method"], scope["path"]))

    async def answer(self, endpoint: Endpoint, scope: Scope, body: bytes | Receive) -> Response:
        """The response of a shortcut, without the headers that every answer has. Raises nothing.
        `body`: whole, or how to receive it."""
        started = scope.get("butie.began") or time.perf_counter()
        if "butie.headers" not in scope:
            scope["butie.headers"] = dict(reversed(scope["headers"]))
        headers = scope["butie.headers"]
        request_id = scope["butie.request_id"] = _request_id(headers)
        REQUEST_ID.set(request_id)
        self._under_way += 1
        try:
            response = await self._answer(endpoint, scope, headers, body)
        except Exception as error:
            response = await self.on_fault(Request(scope), error)
        finally:
            self._under_way -= 1
        self._record(scope, response.status_code, time.perf_counter() - started)
        return response

    async def _answer(
        self,
        endpoint: Endpoint,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        body: bytes | Receive,
    ) -> Response:
        bound = self.bounds.of(scope["path"])
        early = self._refused_early(scope, headers, bound)
        if early is not None:
            return problem(Request(scope), early)
        if isinstance(body, bytes):
            return await endpoint(Call(scope, body))
        # The endpoint reads it, once it knows the caller.
        return await endpoint(Request(scope, _counted(body, bound.body_max_bytes)))

    # --- everything else ----------------------------------------------------------------

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = scope["butie.headers"] = dict(reversed(scope["headers"]))
        request_id = scope["butie.request_id"] = _request_id(headers)
        structlog.contextvars.clear_contextvars()
        REQUEST_ID.set(request_id)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(scope, message)
            await send(message)

        self._under_way += 1
        try:
            bound = self.bounds.of(scope["path"])
            early = self._refused_early(scope, headers, bound)
            app = self.app if early is None else problem(Request(scope), early)
            bounded = _counted(receive, bound.body_max_bytes)
            await app(scope, bounded, send_with_headers)
        except Exception as error:
            response = await self.on_fault(Request(scope), error)
            if not status:  # else a response has begun
                await response(scope, receive, send_with_headers)
        finally:
            self._under_way -= 1
            self._record(scope, status, time.perf_counter() - started)

    def _refused_early(
        self, scope: Scope, headers: Mapping[bytes, bytes], bound: Bound
    ) -> str | None:
        """The code of a problem that is clear before the body is read."""
        if self._under_way > self.bounds.requests_max and scope["path"] not in QUIET_PATHS:
            return "overloaded"
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > bound.body_max_bytes:
            return "body_too_large"
        if ENCODING in headers and not _is_taken(headers[ENCODING], bound):
            return "unsupported_encoding"
        return None

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")  # a template, so bounded
        method = scope["method"] if scope["method"] in METHODS else "other"
        metrics.observe_request(method, route, status, seconds)
        # Probes and scrapes would fill the log.
        level = logging.DEBUG if route in QUIET_PATHS else logging.INFO
        if log.is_enabled_for(level):
            log.log(
                level,
                "request",
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
                **scope.get("butie.log", {}),
            )


def _add_headers(scope: Scope, message: Message) -> None:
    headers = message["headers"] = list(message["headers"])
    known = dict(headers)
    page = known.get(b"content-type", b"").startswith(b"text/html")
    if CONTENT_POLICY[0] not in known:
        headers.append((CONTENT_POLICY[0], DOCS_PAGE) if page else CONTENT_POLICY)
    if NO_STORE[0] not in known:
        headers.append(NO_STORE)
    headers += (*SAFE_HEADERS, *own_headers(scope))


def own_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The edge's headers of this request's answer alone."""
    request_id: str = scope["butie.request_id"]
    return [(b"x-request-id", request_id.encode()), *scope.get("butie.rate_headers", ())]


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


def _is_taken(encoding: bytes, bound: Bound) -> bool:
    name = encoding.strip().lower()
    return name in (b"", b"identity") or (name == GZIP and bound.takes_gzip)


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    """The id that the caller sent, if it has the form of one; else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and GOOD_REQUEST_ID.fullmatch(given):
        return given.decode()
    return str(uuid7())
