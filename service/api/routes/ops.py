"""Liveness, readiness and metrics, for the operator and for monitoring."""

from dataclasses import asdict, dataclass
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Metric,
    generate_latest,
    multiprocess,
)
from prometheus_client import REGISTRY as THIS_PROCESS
from prometheus_client.registry import Collector

from service import metrics
from service.api.auth import ServiceOf
from service.claims.outcomes import GateAway
from service.ops.health import ledger_fault

WITHOUT_GATE = {
    "ledger": "the ledger decides alone, more slowly",
    "refuse": "claims are refused until it does",
}

router = APIRouter(tags=["operations"])


@dataclass(frozen=True, slots=True)
class Live:
    status: Literal["ok"]


@dataclass(frozen=True, slots=True)
class Ready:
    """`faults` says what is wrong. A gate that is away leaves the service ready, but slower."""

    ready: bool
    ledger: Literal["up", "down"]
    gate: Literal["up", "down"]
    faults: list[str]


@router.get("/healthz")
async def healthz() -> Live:
    """The process answers."""
    return Live("ok")


@router.get("/readyz", response_model=Ready, responses={503: {"model": Ready}})
async def readyz(service: ServiceOf) -> Response:
    """Whether claims can be granted here now, and what is wrong if not."""
    faults = []
    ledger = await ledger_fault(service.engine)
    if ledger:
        faults.append(f"ledger: {ledger}")
    gate_up = True
    try:
        await service.claims.gate.check()
    except GateAway as away:
        gate_up = False
        faults.append(f"gate: {away.reason}; {WITHOUT_GATE[service.settings.gate_mode]}")
    ready = not ledger and (gate_up or service.settings.gate_mode == "ledger")
    body = Ready(ready, "down" if ledger else "up", "up" if gate_up else "down", faults)
    return JSONResponse(asdict(body), 200 if ready else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def prometheus_metrics(service: ServiceOf) -> Response:
    """Prometheus metrics: what all workers of this host counted, and the ledger's figures."""
    registry: CollectorRegistry = THIS_PROCESS
    if service.settings.workers > 1:
        metrics.forget_dead_workers()
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    read = CollectorRegistry()
    read.register(_Read(await service.figures.families()))
    return Response(
        generate_latest(registry) + generate_latest(read), media_type=CONTENT_TYPE_LATEST
    )


@dataclass(eq=False, slots=True)
class _Read(Collector):
    """Metric families that were read before the scrape is written."""

    families: list[Metric]

    def collect(self) -> list[Metric]:
        return self.families
