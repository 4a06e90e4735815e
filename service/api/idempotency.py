"""The Idempotency-Key header of requests that create something."""

import re
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from service.api.auth import Refusal
from service.api.edge import is_repeated

KEY_PATTERN = r"^[!-~]{1,255}$"

_KEY = re.compile(KEY_PATTERN)


async def idempotency_key(
    request: Request,
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            json_schema_extra={"pattern": KEY_PATTERN},
            description="one for each request, the same on every retry",
        ),
    ],
) -> str:
    """A dependency, called directly by a shortcut: the header's value.
    Refuses a repeated header: one of its keys would be ignored, and a retry with that key would be
    another request. Raises Refusal."""
    if not _KEY.fullmatch(key) or is_repeated(request, b"idempotency-key"):
        raise Refusal("invalid_idempotency_key")
    return key


IdempotencyKey = Annotated[str, Depends(idempotency_key)]

# The OpenAPI entry of an answer that may be a repeat.
REPLAYED: dict[str, Any] = {
    "headers": {
        "Idempotency-Replayed": {
            "description": "`true` when the key had its answer already",
            "schema": {"type": "string", "enum": ["true"]},
        },
    }
}
