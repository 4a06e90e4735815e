"""Reading a JSON body: validated by pydantic-core straight from the bytes, strictly."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)


def json_body(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """A dependency: the request's body as this model. Raises pydantic's ValidationError."""

    async def read(request: Request) -> Model:
        return await read_body(request, model)

    return read


async def read_body(request: Request, model: type[Model]) -> Model:
    """The request's body as this model. Raises pydantic's ValidationError."""
    return model.model_validate_json(await request.body())


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI entry of a route that reads its body with `json_body`."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
