"""Traces, as a collector gets them: OTLP over HTTP, ids and links, and nothing of a person."""

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.api import tracing
from service.config import Misconfigured, trace_exporter
from tests.builders import item_json, resident_id, serial
from tests.conftest import House, open_house

pytestmark = pytest.mark.anyio


@dataclass
class Collector:
    """A real receiver of OTLP over HTTP; `spans` by name, `raw` all bytes that came."""

    url: str = ""
    raw: bytes = b""
    services: set[str] = field(default_factory=set)
    spans: list[Any] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            self.services.add(names["service.name"])
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


def attributes(span: Any) -> dict[str, Any]:
    return {
        one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes
    }


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield collector
    server.shutdown()
    server.server_close()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "butie-test")
        yield made


@pytest.fixture
async def traced(collector: Collector, database_url: str, engine_urls: Any, tmp_path: Path) -> Any:
    """Opens the house; once it is closed all spans have come."""

    async def work(
        *keys: str, person: str = resident_id(1), searched: bool = False, **headers: str
    ) -> list[Any]:
        async with open_house(database_url, engine_urls.redis_url, tmp_path) as house:
            answers = await asyncio.gather(
                *(sell(house, n, key, person, headers) for n, key in enumerate(keys))
            )
            if searched:
                body = {"id_type": "resident_id", "id_number": person}
                async with house.client("bureau") as desk:
                    answers.append(await desk.post("/v1/claims/search", json=body))
            return answers

    return work


async def sell(house: House, n: int, key: str, person: str, headers: dict[str, str]) -> Any:
    body = {
        "store_id": "NH0001",
        "order_no": key,
        "sold_at": "2025-06-18T10:15:00+08:00",
        "consumer": {"id_type": "resident_id", "id_number": person},
        "items": [item_json(serial_no=serial(n))],
    }
    async with house.client() as client:
        named = {"Idempotency-Key": key, **headers}
        return await client.post("/v1/claims", json=body, headers=named)


async def test_a_claim_is_one_trace_with_its_ids(traced: Any, collector: Collector) -> None:
    request_id = str(uuid4())
    trace_id, parent_id = uuid4().hex, uuid4().hex[:16]
    headers = {"X-Request-Id": request_id, "traceparent": f"00-{trace_id}-{parent_id}-01"}
    (answer,) = await traced("k1", **headers)
    assert answer.status_code == 201
    claim_id = answer.json()["claim_id"]
    (request,) = collector.named("POST /v1/claims")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (trace_id, parent_id)
    told = attributes(request)
    assert told["butie.request_id"] == request_id
    assert told["butie.claim_id"] == claim_id
    assert (told["http.route"], told["http.response.status_code"]) == ("/v1/claims", 201)
    (admit,), (commit,) = collector.named("claim.admit"), collector.named("claim.commit")
    assert admit.parent_span_id == request.span_id
    assert commit.parent_span_id == admit.span_id
    for span in (admit, commit):
        assert span.trace_id == request.trace_id
        assert attributes(span)["butie.claim_id"] == claim_id
    assert collector.services == {"butie-test"}


async def test_a_batch_is_linked_to_every_claim_it_carries(
    traced: Any, collector: Collector
) -> None:
    answers = await traced(*(f"k{n}" for n in range(3)))
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    for batch, hop in (("gate.admit", "claim.admit"), ("ledger.commit", "claim.commit")):
        linked = [link.span_id for span in collector.named(batch) for link in span.links]
        assert set(linked) == {span.span_id for span in collector.named(hop)}
        for span in collector.named(batch):
            assert not span.parent_span_id
            assert attributes(span)["butie.batch_size"] == len(span.links)


async def test_nothing_of_a_person_is_in_a_trace(traced: Any, collector: Collector) -> None:
    person = resident_id(4321)
    answers = await traced("k1", "k2", "k3", "k4", person=person, searched=True)
    assert sorted(answer.status_code for answer in answers) == [200, 201, 201, 201, 409]
    assert len(collector.named("POST /v1/claims")) == 4
    assert len(collector.named("POST /v1/claims/search")) == 1
    assert person.encode() not in collector.raw
    assert person[-4:].encode() not in collector.raw


async def test_a_collector_that_is_away_holds_up_nobody(
    traced: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    (answer,) = await traced("k1")
    assert answer.status_code == 201


def test_traces_override_nothing_private() -> None:
    """What tracing needs is offered by the path and the edge, so that both can change inside."""
    overridden = [
        f"{name}.{member}"
        for name, cls in inspect.getmembers(tracing, inspect.isclass)
        if cls.__module__ == tracing.__name__
        for base in cls.__mro__[1:]
        if base.__module__.startswith("service.")
        for member in vars(cls).keys() & vars(base).keys()
        if member.startswith("_") and not member.startswith("__")
    ]
    assert overridden == []


def test_without_the_variables_nothing_of_it_is_loaded() -> None:
    look = (
        "import sys; from service.config import Settings; from service.api.app import make_app;"
        "app = make_app(Settings()); print(type(app.middleware_stack).__name__, *sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", look], text=True).split()
    assert "service.api.app" in loaded
    assert loaded[0] == "Edge"
    # FastAPI and redis-py load the rest of OpenTelemetry where it is installed, for themselves.
    ours = ("service.api.tracing", "opentelemetry.exporter")
    assert [name for name in loaded if name.startswith(ours)] == []


@pytest.mark.parametrize(
    ("environment", "exporter"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "butie"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, None),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, None),
    ],
)
def test_the_standard_variables_decide(environment: dict[str, str], exporter: str | None) -> None:
    assert trace_exporter(environment) == exporter


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_what_is_not_spoken_here_is_told(environment: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="OTEL_"):
        trace_exporter(environment)


def test_traces_without_the_extra_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.config.find_spec", lambda name: None)
    with pytest.raises(Misconfigured, match=r"butie\[tracing\]"):
        trace_exporter({"OTEL_TRACES_EXPORTER": "otlp"})
