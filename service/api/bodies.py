"""Reading a JSON body: validated by pydantic-core straight from the bytes, strictly."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class InvalidBody(Exception):
    """The request's body is wrong. Of its own, so that no other failed validation, which is a bug
    of ours, is taken for the caller's fault."""

    def __init__(self, fault: ValidationError) -> None:
        super().__init__("invalid body")
        self.fault = fault


def json_body(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """A dependency: the request's body as this model. Raises InvalidBody."""

    async def read(request: Request) -> Model:
        return await read_body(request, model)

    return read


async def read_body(request: Request, model: type[Model]) -> Model:
    """The request's body as this model. Raises InvalidBody."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        raise InvalidBody(error) from None


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI entry of a route that reads its body with `json_body`."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
