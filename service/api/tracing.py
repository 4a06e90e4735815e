"""OpenTelemetry traces: one for each request, with the two hops of its claim, and one for each
batch. Imported only when the environment asks for traces.

    POST /v1/claims            the request: route, status, request id, claim id
      claim.admit              one claim at the gate, from the moment it queues
        claim.commit           and in the ledger
    gate.admit                 a batch, in a trace of its own, linked to each claim it carries
    ledger.commit              likewise

A span has ids, routes, codes and counts, and nothing about a person.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any, assert_never, cast
from uuid import UUID

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from service.api.edge import QUIET_PATHS, Edge, Endpoint
from service.claims.claim import PendingClaim
from service.claims.hops import Hop, Work
from service.config import TraceExporter

# A collector that is away must not delay the shutdown.
STOP_S = 2

_propagator = TraceContextTextMapPropagator()


class Tracing:
    """The tracer of one process. The SDK reads the standard variables (OTEL_…) itself."""

    def __init__(self, exporter: TraceExporter) -> None:
        self._provider = TracerProvider(resource=Resource.create())
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(exporter)))
        self.tracer = self._provider.get_tracer("butie")
        self._hops = Hops(self.tracer)

    def edge(self, **parts: Any) -> "TracedEdge":
        """The outermost layer, with a span around each request."""
        edge = TracedEdge(**parts)
        edge.tracer = self.tracer
        return edge

    def around(self, hop: Hop, work: Work, /) -> Work:
        """What the claim path puts around its hops."""
        return self._hops.around(hop, work)

    def close(self) -> None:
        """Send what is left, for at most `STOP_S`."""
        # A daemon: the interpreter waits at exit for an executor's threads.
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(STOP_S)


def _exporter(exporter: TraceExporter) -> SpanExporter:
    if exporter == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


@contextmanager
def _span(tracer: Tracer, name: str, **how: Any) -> Iterator[Span]:
    """A span that records only the type of an error: its text may be about a person."""
    quiet: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False}
    with tracer.start_as_current_span(name, **quiet, **how) as span:
        try:
            yield span
        except Exception as error:
            _fail(span, error)
            raise


def _fail(span: Span, error: Exception) -> None:
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(StatusCode.ERROR)


def _about(claim: PendingClaim) -> dict[str, str]:
    return {"butie.claim_id": str(claim.claim_id)}


class TracedEdge(Edge):
    tracer: Tracer

    async def answer(self, endpoint: Endpoint, scope: Scope, body: bytes | Receive) -> Response:
        with self._request(scope) as span:
            response = await Edge.answer(self, endpoint, scope, body)
            _complete(span, scope, response.status_code)
        return response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["path"] in QUIET_PATHS
            or self.shortcut(scope) is not None  # `answer` makes its span
        ):
            await Edge.__call__(self, scope, receive, send)
            return
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        with self._request(scope) as span:
            await Edge.__call__(self, scope, receive, noting)
            _complete(span, scope, status)

    def _request(self, scope: Scope) -> Any:
        carrier = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        return self.tracer.start_as_current_span(
            scope["method"],
            context=_propagator.extract(carrier, Context()),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"]},
        )


def _complete(span: Span, scope: Scope, status: int) -> None:
    """Completes the span of an answered request. It has the route, since a path may contain a
    person's numbers."""
    route = getattr(scope.get("route"), "path", "none")
    span.update_name(f"{scope['method']} {route}")
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    span.set_attribute("butie.request_id", scope["butie.request_id"])
    for name, value in scope.get("butie.log", {}).items():
        span.set_attribute(f"butie.{name}", value)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


class Hops:
    """Makes the spans of claims at the gate and in the ledger, and of the batches they share."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._under_way: dict[UUID, Span] = {}  # the innermost of each claim

    def around(self, hop: Hop, work: Work, /) -> Work:
        """The work with its span. See `service.claims.hops.Around`."""

        def span(item: Any) -> AbstractContextManager[Any]:
            match hop:
                case "claim.admit":
                    return self._claims(hop, item)
                case "claim.commit":
                    return self._claims(hop, [claim for claim, _ in item])
                case "gate.admit":
                    return self._batch(hop, [candidate.claim for candidate in item])
                case "ledger.commit":
                    return self._batch(hop, [claim for claim, _ in item])
            assert_never(hop)

        @wraps(work)
        async def observed(item: Any, *args: Any, **options: Any) -> Any:
            with span(item) as fail:
                results = await work(item, *args, **options)
                if callable(fail):
                    fail(results)
                return results

        return cast(Work, observed)

    @contextmanager
    def _claims(
        self, name: str, claims: Sequence[PendingClaim]
    ) -> Iterator[Callable[[Sequence[object]], None]]:
        """A span for each claim, in the trace of its own request. Gives what marks those that fail,
        by their results."""

        def fail(results: Sequence[object]) -> None:
            for claim, result in zip(claims, results, strict=True):
                if isinstance(result, Exception):
                    _fail(self._under_way[claim.claim_id], result)

        with ExitStack() as stack:
            for claim in claims:
                outer = self._under_way.get(claim.claim_id)
                assert claim.context is not None, "Bug! An observed path keeps the context."
                request = claim.context.run(get_current)
                context = request if outer is None else set_span_in_context(outer)
                # Not current, or the next one would be its child.
                span = self._tracer.start_span(name, context, attributes=_about(claim))
                stack.callback(span.end)
                stack.enter_context(self._under(claim, span))
            try:
                yield fail
            except Exception as error:
                for claim in claims:
                    _fail(self._under_way[claim.claim_id], error)
                raise

    @contextmanager
    def _under(self, claim: PendingClaim, span: Span) -> Iterator[None]:
        outer = self._under_way.get(claim.claim_id)
        self._under_way[claim.claim_id] = span
        try:
            yield
        finally:
            if outer is None:
                del self._under_way[claim.claim_id]
            else:
                self._under_way[claim.claim_id] = outer

    def _batch(self, name: str, claims: Sequence[PendingClaim]) -> AbstractContextManager[Span]:
        spans = (self._under_way.get(claim.claim_id) for claim in claims)
        return _span(
            self._tracer,
            name,
            context=Context(),  # not a child of the claim that came first
            kind=SpanKind.CLIENT,
            links=[Link(span.get_span_context()) for span in spans if span is not None],
            attributes={"butie.batch_size": len(claims)},
        )
