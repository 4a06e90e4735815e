"""The OpenAPI document, as generators of clients take it.

FastAPI writes most of it from the routes. What it cannot know is added here: bodies that are read
from their bytes (`bodies.takes`), problems, examples, who needs no key, where the service is.
"""

import json
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.bodies import taken_models
from service.api.examples import PROBLEMS, REQUESTS
from service.api.problems import MEDIA_TYPE, Problem

DESCRIPTION = """\
Amounts are whole fen (`_fen`), rates basis points (`_bp`), instants RFC 3339 (`_at`), days are days
in Asia/Shanghai (`_on`). Every error is a problem (RFC 9457) with a stable `code`; `retryable` says
whether the same request may succeed later. Sentences are Chinese unless `Accept-Language` prefers
English."""
TAGS = {
    "claims": "Quotes, claims and what becomes of them: for tills.",
    "budgets": "How each pool stands, and the acts that raise or lower it.",
    "finance": "Exports, settlements and reconciliations.",
    "admin": "Retailers, stores, keys and the record of all acts.",
    "operations": "Health, metrics and the budget page.",
}
SCHEMAS = "#/components/schemas/"
EXAMPLES = "#/components/examples/"
# The budget page takes the key as a browser's password, too, or none where the operator says so.
BOARD_SECURITY: list[dict[str, list[str]]] = [{"HTTPBasic": []}, {"HTTPBearer": []}, {}]


def operation_id(route: APIRoute) -> str:
    """The name of a generated client's function: the route's own."""
    return route.name


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, made once for each application."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=DESCRIPTION,
            routes=app.routes,
            tags=[{"name": name, "description": text} for name, text in TAGS.items()],
            servers=[{"url": "/", "description": "where this document is served"}],
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        )
        _add_schemas(document["components"])
        document["components"]["securitySchemes"]["HTTPBasic"] = {
            "type": "http",
            "scheme": "basic",
            "description": "a browser's: any name, and the key as the password",
        }
        for path, operations in document["paths"].items():
            for operation in operations.values():
                _complete(path, operation)
        used = set(re.findall(f'"{EXAMPLES}([a-z_]+)"', json.dumps(document)))
        document["components"]["examples"] = {code: PROBLEMS[code] for code in sorted(used)}
        app.openapi_schema = document
    return app.openapi_schema


def _add_schemas(components: dict[str, Any]) -> None:
    models: list[type[BaseModel]] = [*taken_models(), Problem]
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=SCHEMAS + "{model}"
    )
    components["schemas"].update(definitions["$defs"])
    # FastAPI's own, which no answer of ours is.
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)


def _complete(path: str, operation: dict[str, Any]) -> None:
    operation.setdefault("security", BOARD_SECURITY if path.startswith("/board") else [])
    for body in operation.get("requestBody", {}).get("content", {}).values():
        name = body["schema"].get("$ref", "").removeprefix(SCHEMAS)
        if name:
            body["examples"] = REQUESTS[name]
    for status, answer in operation["responses"].items():
        if int(status) >= 400:
            _complete_problem(answer)


def _complete_problem(answer: dict[str, Any]) -> None:
    """The problems that the description names, each with its example."""
    codes = [word.strip("` ") for word in answer["description"].split(" or ")]
    if MEDIA_TYPE not in answer.get("content", {}):  # FastAPI's 422, or an answer of another kind
        if "application/json" not in answer.get("content", {}):
            return
        codes = ["invalid_field"]
        answer["description"] = "`invalid_field`"
    answer["content"] = {
        MEDIA_TYPE: {
            "schema": {"$ref": SCHEMAS + "Problem"},
            "examples": {code: {"$ref": EXAMPLES + code} for code in codes},
        }
    }
