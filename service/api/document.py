"""The OpenAPI document, in a form that client generators accept.

FastAPI writes most of it from the routes. This module adds what FastAPI cannot know: the bodies
that routes read themselves (`bodies.takes`), the problems with their examples, the routes that
need no key, and where the service is.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.bodies import taken_models
from service.api.examples import PROBLEMS, REQUESTS
from service.api.problems import MEDIA_TYPE, Problem, documented

DESCRIPTION = """\
Amounts are whole fen (`_fen`). Rates are basis points (`_bp`). Instants are RFC 3339 (`_at`). Days
are days in Asia/Shanghai (`_on`).

Every error is a problem (RFC 9457) with a stable `code`. `retryable` says whether the same request
may succeed later. Sentences are Chinese unless `Accept-Language` prefers English. An unknown path
answers 404 `not_found`; a method that the path does not take answers 405 `method_not_allowed`."""
TAGS = {
    "claims": "Quotes and claims, for tills: confirm, cancel, refund, invoice, find.",
    "budgets": "The budget of each pool: its figures, its forecast, and the acts that change it.",
    "finance": "Exports, settlements and reconciliations.",
    "admin": "Retailers, stores, API keys and the record of all acts.",
    "operations": "Health, metrics and the budget page.",
}
# No text can be an example of these.
BINARY = {"application/ofd"}
SCHEMAS = "#/components/schemas/"

# Answers of the server itself, which no route declares.
SERVER_PROBLEMS = (
    "not_http",
    "too_slow",
    "head_too_large",
    "unsupported_encoding",
    "internal_error",
)
# Answers to a request with a key: its rate, and the load of the worker.
KEY_PROBLEMS = ("too_many_requests", "overloaded")

# The budget page also takes the key as a browser's password; BUTIE_BOARD may open it to everyone.
BOARD_SECURITY: list[dict[str, list[str]]] = [{"HTTPBasic": []}, {"HTTPBearer": []}, {}]


def operation_id(route: APIRoute) -> str:
    """The route's own name, which generators give to the client's function."""
    return route.name


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document. It is made once per application."""
    if app.openapi_schema is None:
        app.openapi_schema = _make(app)
    return app.openapi_schema


def _make(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        servers=[{"url": "/", "description": "the host that serves this document"}],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    codes: set[str] = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation.setdefault("security", BOARD_SECURITY if path.startswith("/board") else [])
            _add_request_examples(operation)
            codes |= _add_problems(operation)
    components = document["components"]
    components["examples"] = {code: PROBLEMS[code] for code in sorted(codes)}
    components["securitySchemes"]["HTTPBasic"] = {
        "type": "http",
        "scheme": "basic",
        "description": "for browsers: any user name, and the API key as the password",
    }
    _add_schemas(components["schemas"])
    return document


def _add_request_examples(operation: dict[str, Any]) -> None:
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        if media_type in BINARY:
            continue
        model = body["schema"].get("$ref", "").removeprefix(SCHEMAS)
        body["examples"] = REQUESTS[model or operation["operationId"]]


def _add_problems(operation: dict[str, Any]) -> set[str]:
    """Adds the problems that the route does not declare itself. Returns the codes of all."""
    answers = operation["responses"]
    # FastAPI adds a 422 of its own to every route with a parameter. Routes that can answer 422
    # declare `invalid_field`; the others take any text and answer 404.
    if MEDIA_TYPE not in answers.get("422", {}).get("content", {MEDIA_TYPE: {}}):
        del answers["422"]
    declared = [
        code
        for answer in answers.values()
        for code in answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", ())
    ]
    codes = (*declared, *SERVER_PROBLEMS, *(KEY_PROBLEMS if operation["security"] else ()))
    for status, answer in documented(*codes).items():
        answers[str(status)] = answer
    return set(codes)


def _add_schemas(schemas: dict[str, Any]) -> None:
    models: list[type[BaseModel]] = [*taken_models(), Problem]
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=SCHEMAS + "{model}"
    )
    schemas.update(definitions["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):  # of FastAPI's own 422
        schemas.pop(unused, None)
