"""Schemathesis over the OpenAPI document: no 5xx, no undocumented status or body."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service import sandbox
from service.api.app import make_app
from service.config import Settings
from service.db.engine import make_engine
from service.embedded import Engines
from tests.conftest import NOW

ROLES = {"budgets": "bureau", "exports": "finance", "settlements": "finance"}

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@pytest.fixture(scope="module")
def served(
    engine_urls: Engines, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """(base URL, keys by role) of a service on a socket, in a thread."""
    folder = tmp_path_factory.mktemp("served")
    made = Settings(
        database_url=engine_urls.database_url,
        redis_url=engine_urls.redis_url,
        sandbox_offset_s=int((NOW - sandbox.real_now()).total_seconds()),
        log_level="error",
    )

    async def enrol() -> None:
        engine = make_engine(engine_urls.database_url)
        await sandbox.enrol(engine, made.jurisdiction, folder, NOW)
        await engine.dispose()

    asyncio.run(enrol())
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(made), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    keys = json.loads(Path(folder / "sandbox.json").read_text())["keys"]
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", keys
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_documented(
    served: tuple[str, dict[str, str]], mode: GenerationMode
) -> None:
    base_url, keys = served
    schema = schemathesis.openapi.from_url(f"{base_url}/openapi.json")
    tried = []
    for found in schema.get_all_operations():
        operation = found.ok()
        role = next((role for part, role in ROLES.items() if part in operation.path), "pos")
        try:
            _try_cases(operation.as_strategy(generation_mode=mode), keys[role])
        except (Unsatisfiable, SkipTest):
            continue  # nothing about this operation can be wrong
        tried.append(operation.path)
    assert "/v1/claims" in tried
    assert "/v1/quotes" in tried


def _try_cases(cases: SearchStrategy[schemathesis.Case], key: str) -> None:
    @given(case=cases)
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {key}"}
        case.call_and_validate(checks=list(CHECKS))

    check()
