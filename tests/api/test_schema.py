"""Schemathesis over the OpenAPI document: no 5xx, no undocumented status or body."""

import asyncio
import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any
from unittest import SkipTest

import asyncpg
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import FlakyStrategyDefinition, Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import APIOperation, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service import sandbox
from service.api.app import make_app
from service.config import Settings
from service.embedded import Engines
from tests.builders import checkout_json, item_json
from tests.conftest import NOW, Furnished, server_of

# Making requests up takes a busy machine minutes.
pytestmark = pytest.mark.timeout(600)
LONG = (pytest.mark.long, pytest.mark.timeout(7200))

MACHINES_MAX = 5

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@pytest.fixture(scope="module")
def served(engine_urls: Engines, furnished: Furnished) -> Iterator[tuple[str, dict[str, str]]]:
    """(base URL, keys by role) of a service on a socket, in a thread."""
    # Of its own, for all tests of this file.
    database = f"served_{os.urandom(6).hex()}"

    async def create() -> None:
        admin = await asyncpg.connect(f"{server_of(engine_urls)}/postgres")
        await admin.execute(f"CREATE DATABASE {database} TEMPLATE {furnished.database}")
        await admin.close()

    asyncio.run(create())
    made = Settings(
        database_url=f"{server_of(engine_urls)}/{database}",
        redis_url=engine_urls.redis_url,
        sandbox_offset_s=int((NOW - sandbox.real_now()).total_seconds()),
        log_level="error",
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(made), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    keys = json.loads(furnished.keys.read_text())["keys"]
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", keys
    server.should_exit = True
    thread.join(10)


ADMIN_PATHS = ("/v1/retailers", "/v1/stores", "/v1/keys", "/v1/acts")
FINANCE_PATHS = ("/v1/exports", "/v1/settlements", "/v1/reconciliations")


def role_for(operation: APIOperation) -> str:
    if operation.path.startswith(ADMIN_PATHS):
        return "admin"
    if operation.path.startswith(FINANCE_PATHS):
        return "finance"
    if "budgets" in operation.path:
        return "bureau" if operation.method == "get" else "admin"
    return "pos"


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("cases", [15, pytest.param(500, marks=LONG)])
def test_every_answer_is_documented(
    served: tuple[str, dict[str, str]], mode: GenerationMode, cases: int
) -> None:
    base_url, keys = served
    schema = schemathesis.openapi.from_url(f"{base_url}/openapi.json")
    tried: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        strategy = operation.as_strategy(generation_mode=mode)
        try:
            tried[operation.path] += _try_cases(strategy, keys[role_for(operation)], cases)
        except (Unsatisfiable, SkipTest):
            continue  # nothing about this operation can be wrong
    print(f"{tried.total()} cases of {len(tried)} paths, {mode.name.lower()}")
    assert tried.total() > 20 * cases
    assert "/v1/claims" in tried
    assert "/v1/quotes" in tried


def _try_cases(strategy: SearchStrategy[schemathesis.Case], key: str, cases: int) -> int:
    tried = 0

    @given(case=strategy)
    @settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        nonlocal tried
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {key}"}
        case.call_and_validate(checks=list(CHECKS))
        tried += 1

    check()
    return tried


# Each with its own machine: one that runs long repeats its beginnings, and the ledger has moved on.
@pytest.mark.parametrize("turn", [0, *(pytest.param(n, marks=LONG) for n in range(1, 12))])
def test_what_follows_a_claim_is_documented_too(
    served: tuple[str, dict[str, str]], turn: int
) -> None:
    """Claim, then confirm, cancel, refund, invoice and read it, in any order, by the document's
    own links. The claims themselves are good ones, or nothing would follow."""
    base_url, keys = served
    schema = schemathesis.openapi.from_url(f"{base_url}/openapi.json").include(
        path_regex=r"^/v1/claims($|/\{)"
    )
    # The list grows from run to run, so what follows it would differ when a run is repeated.
    schema = schema.exclude(path="/v1/claims", method="GET")
    sales = count(100, step=100)
    statuses: dict[str, Counter[int]] = {}
    failures: list[str] = []

    class Till(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            # Odd or even by its place in this run: whatever is run again then goes the same way.
            self.numbers = count(next(sales))

        def before_call(self, case: schemathesis.Case) -> None:
            n = next(self.numbers)
            case.headers = {"Authorization": f"Bearer {keys[role_for(case.operation)]}"}
            if case.method == "POST":
                case.headers["Idempotency-Key"] = f"s{n}"
            if case.operation.path in ("/v1/claims", "/v1/quotes"):
                case.body = checkout_json(
                    hold=n % 2 == 0,
                    consumer={"id_type": "passport", "id_number": f"P{n:08d}"},
                    items=[item_json(serial_no=f"STATE{n}")],
                )
            elif case.operation.path.endswith("/refunds") and n % 2:
                case.body = {"lines": [1], "reason": "returned"}
            elif case.operation.path.endswith("/invoice") and n % 2:
                # A number of its own: one that a former run has filed would be taken.
                case.media_type = "application/json"
                case.body = {
                    "number": f"25{n:018d}",
                    "date": "2025-06-18",
                    "buyer": "x",
                    "total_fen": 599_900,
                }

        def validate_response(self, response: Any, case: schemathesis.Case, **more: Any) -> None:
            path = f"{case.method} {case.operation.path}"
            statuses.setdefault(path, Counter())[response.status_code] += 1
            try:
                case.validate_response(response, checks=list(CHECKS))
            except (Failure, FailureGroup) as wrong:
                failures.append(f"{path}: {wrong}")
                raise

    # A run that is repeated may meet a ledger that has moved on. Then the machine stops early, and
    # another goes on; what the first has seen counts.
    for _ in range(MACHINES_MAX):
        with suppress(FlakyStrategyDefinition):
            Till.run(
                settings=settings(
                    max_examples=40,
                    stateful_step_count=8,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                )
            )
            break
    print(statuses)
    assert not failures
    assert statuses["POST /v1/claims"][201]
    assert statuses["GET /v1/claims/{claim_id}"][200]
    assert statuses["POST /v1/claims/{claim_id}/confirm"][200]
    assert statuses["POST /v1/claims/{claim_id}/refunds"][201]
