"""The HTTP application: its routes, its error handlers, and its lifespan."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.api.auth import Refusal
from service.api.bodies import InvalidBody
from service.api.bounds import Bound, Bounds
from service.api.document import openapi, operation_id
from service.api.edge import BodyTooLarge, Edge
from service.api.invalid import invalid_fields, summary
from service.api.problems import language_of, problem
from service.api.routes import (
    batch,
    board,
    budgets,
    claims,
    exports,
    finding,
    invoices,
    keys,
    lifecycle,
    ops,
    reconciliations,
    retailers,
    settlements,
)
from service.batcher import Overloaded
from service.claims.hops import unobserved
from service.claims.outcomes import GateAway
from service.config import Settings, trace_exporter
from service.core.sentences import Sentence
from service.db.engine import LedgerAway
from service.db.reports import ReportsBusy
from service.finance.journal.download import TooManyRows
from service.finance.journal.selection import BookersHang
from service.finance.journal.snapshot import StandbyBehind
from service.ops.logs import set_up_logs
from service.retailers.limiter import TooMany
from service.wiring import open_service

if TYPE_CHECKING:
    from service.api.tracing import Tracing

log = structlog.get_logger()

# Enough for a batch of 500 checkouts of the usual size.
BATCH_BODY_FACTOR = 16

ROUTES = (
    claims, batch, finding, lifecycle, invoices, budgets, exports, settlements, reconciliations,
    retailers, keys, ops, board,
)  # fmt: skip

# Answered by the edge itself, without FastAPI's stack.
SHORTCUTS = {
    ("POST", "/v1/claims"): claims.create_claim,
    ("POST", "/v1/claims/batch"): batch.create_claims,
}


def create_app() -> FastAPI:
    """The application that the server runs. Reads its settings from the environment."""
    return make_app(Settings())


def make_app(settings: Settings) -> FastAPI:
    """The application. Its lifespan opens and closes the service."""
    set_up_logs(
        settings.log_format or ("console" if settings.sandbox else "json"), settings.log_level
    )

    tracing = _tracing()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if tracing:
                stack.callback(tracing.close)
            around = tracing.around if tracing else unobserved
            app.state.service = await stack.enter_async_context(open_service(settings, around))
            app.state.serial_formats = app.state.service.book.serial_formats
            yield

    app = FastAPIOffline(
        redoc_url=None,
        redirect_slashes=False,  # a client that follows a redirect drops its key or its body
        title="Butie 补贴",
        version="1",
        summary="Trade-in subsidies at the till",
        lifespan=lifespan,
        generate_unique_id_function=operation_id,
        # It would report error messages and the names of a body's fields.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.pages = board.Pages()
    for routes in ROUTES:
        app.include_router(routes.router)
    for fault, answer in FAULTS.items():
        app.add_exception_handler(fault, answer)
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    edge = tracing.edge if tracing else Edge
    app.middleware_stack = edge(
        app=app.build_middleware_stack(),
        bounds=bounds_of(settings),
        shortcuts=SHORTCUTS,
        on_fault=_answer_fault,
    )
    return app


def bounds_of(settings: Settings) -> Bounds:
    return Bounds(
        Bound(settings.body_max_bytes),
        {
            "/v1/claims/batch": Bound(settings.body_max_bytes * BATCH_BODY_FACTOR),
            "/v1/claims/{claim_id}/invoice": invoices.FILE_BOUND,
            "/v1/reconciliations": reconciliations.FILE_BOUND,
        },
        requests_max=settings.requests_max,
        hot=[path for _, path in SHORTCUTS],
    )


def _tracing() -> "Tracing | None":
    """The tracing that the environment asks for. Its code is loaded only then."""
    exporter = trace_exporter(os.environ)
    if exporter is None:
        return None
    from service.api.tracing import Tracing

    return Tracing(exporter)


# --- every error leaves as a problem ----------------------------------------------------


async def _refusal(request: Request, error: Refusal) -> Response:
    if error.why is None:
        return problem(request, error.code)
    return problem(request, error.code, detail=error.why.in_language(language_of(request)))


async def _body_too_large(request: Request, error: BodyTooLarge) -> Response:
    return problem(request, "body_too_large")


async def _invalid_body(request: Request, error: InvalidBody) -> Response:
    errors = error.fault.errors(include_url=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        return problem(request, "malformed_request")
    fields = invalid_fields(errors, language_of(request))
    return problem(request, "invalid_field", detail=summary(fields), fields=fields)


async def _invalid_parameter(request: Request, error: RequestValidationError) -> Response:
    errors = error.errors()
    if any(fault["loc"] == ("header", "Idempotency-Key") for fault in errors):
        return problem(request, "invalid_idempotency_key")
    fields = invalid_fields(errors, language_of(request))
    return problem(request, "invalid_field", detail=summary(fields), fields=fields)


NO_SUCH_ADDRESS = Sentence(
    "没有这个地址，请核对路径（末尾不带斜杠），并查阅 /docs。",
    "There is no such address: check the path (no slash at its end), and see /docs.",
)


async def _http_error(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:  # from the router: an unknown record is a Refusal
        detail = NO_SUCH_ADDRESS.in_language(language_of(request))
        return problem(request, "not_found", detail=detail)
    codes = {405: "method_not_allowed"}
    response = problem(request, codes.get(error.status_code, "malformed_request"))
    response.headers.update(error.headers or {})
    return response


async def _hung_up(request: Request, error: ClientDisconnect) -> Response:
    return problem(request, "malformed_request")  # for the log: the client has gone


async def _overloaded(request: Request, error: Exception) -> Response:
    return problem(request, "overloaded")


async def _too_many_rows(request: Request, error: TooManyRows) -> Response:
    return problem(request, "too_many_rows")


async def _ledger_away(request: Request, error: LedgerAway) -> Response:
    log.error("ledger_away", cause=repr(error.__cause__))
    return problem(request, "ledger_unavailable")


async def _standby_behind(request: Request, error: StandbyBehind) -> Response:
    return problem(request, "standby_behind")


async def _gate_away(request: Request, error: GateAway) -> Response:
    return problem(request, "gate_unavailable")


async def _too_many(request: Request, error: TooMany) -> Response:
    return problem(request, "too_many_requests", retry_after_s=error.retry_after_s)


async def _bug(request: Request, error: Exception) -> Response:
    log.error("bug", exc_info=error)
    return problem(request, "internal_error")


async def _answer_fault(request: Request, error: Exception) -> Response:
    """The answer to an exception that FastAPI's handlers do not see: a shortcut's, or a bug."""
    answer = next(FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS)
    return await answer(request, error)


FAULTS: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
    Refusal: _refusal,
    board.NeedsKey: board.needs_key,
    BodyTooLarge: _body_too_large,
    ClientDisconnect: _hung_up,
    InvalidBody: _invalid_body,
    RequestValidationError: _invalid_parameter,
    HTTPException: _http_error,
    TooMany: _too_many,
    Overloaded: _overloaded,
    ReportsBusy: _overloaded,
    BookersHang: _overloaded,
    TooManyRows: _too_many_rows,
    StandbyBehind: _standby_behind,
    LedgerAway: _ledger_away,
    GateAway: _gate_away,
    Exception: _bug,
}
