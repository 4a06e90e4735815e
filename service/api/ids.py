"""Ids in a path. What cannot be an id is answered as one that is not there."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path

from service.api.auth import Refusal


def path_uuid(name: str) -> Any:
    """A dependency: the UUID of this name in the route's template. Raises Refusal."""

    async def read(text: Annotated[str, Path(alias=name)]) -> UUID:
        try:
            return UUID(text)
        except ValueError:
            raise Refusal("not_found") from None

    return Depends(read)


def path_id(text: str) -> str:
    """The text, if it can be an id. PostgreSQL does not take every text (NUL). Raises Refusal."""
    if not text.isascii() or not text.isprintable():
        raise Refusal("not_found")
    return text


ClaimId = Annotated[UUID, path_uuid("claim_id")]
