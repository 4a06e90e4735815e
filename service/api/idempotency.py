"""The Idempotency-Key header, as every request that makes something takes it."""

import re
from typing import Annotated, Any

from fastapi import Header

from service.api.auth import Refusal
from service.api.edge import Call

KEY_PATTERN = r"^[!-~]{1,255}$"

_KEY = re.compile(KEY_PATTERN)

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern=KEY_PATTERN,
        description="one for each request, the same on every retry",
    ),
]

# The OpenAPI entry of an answer that may be a repeat.
REPLAYED: dict[str, Any] = {
    "headers": {
        "Idempotency-Replayed": {
            "description": "`true` when the key had its answer already",
            "schema": {"type": "string", "enum": ["true"]},
        },
    }
}


async def idempotency_key(key: IdempotencyKey) -> str:
    return key


def idempotency_key_of(request: Call) -> str:
    """The header's value. Raises Refusal."""
    key = request.header(b"idempotency-key")
    if not _KEY.fullmatch(key):
        raise Refusal("invalid_idempotency_key")
    return key
