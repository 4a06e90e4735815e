"""The Idempotency-Key header, as every request that makes something takes it."""

from typing import Annotated, Any

from fastapi import Header

KEY_PATTERN = r"^[!-~]{1,255}$"

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
