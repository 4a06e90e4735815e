"""JSON bodies: pydantic-core validates them strictly, straight from the bytes."""

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, TypeVar, get_args

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from service.api.edge import BodyTooLarge
from service.core.checkout import SerialFormats

Model = TypeVar("Model", bound=BaseModel)

# Three times the commas of a checkout of twenty cars with trade-ins. pydantic notes every fault:
# for 256 KiB of empty items that takes seconds, and no other till is answered meanwhile.
COMMAS_MAX = 1000
BLANKS = b" \t\r\n"


class InvalidBody(Exception):
    """The request's body is wrong. It is a type of its own, so that another ValidationError, which
    is a bug of the service, is not answered as the caller's fault."""

    def __init__(self, fault: ValidationError) -> None:
        super().__init__("invalid body")
        self.fault = fault


def json_body(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """A dependency, called directly by a shortcut: the request's body as this model. Raises
    InvalidBody or BodyTooLarge."""

    async def read(request: Request) -> Model:
        body = await request.body()
        if body.count(b",") > COMMAS_MAX:
            raise BodyTooLarge
        try:
            value = model.model_validate_json(body, context=serial_formats(request))
        except ValidationError as error:
            raise InvalidBody(error) from None
        names_of_model_once(body, value)
        return value

    return read


def serial_formats(request: Request) -> SerialFormats | None:
    """The context in which a checkout is validated. None in an application without policies."""
    formats: SerialFormats | None = getattr(request.app.state, "serial_formats", None)
    return formats


def each_name_once(body: bytes) -> None:
    """Refuses a name that is repeated in an object: all but one of its values would be ignored.
    Raises InvalidBody."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise invalid("given_twice", name)
            seen.add(name)

    json.loads(body, object_pairs_hook=check)


def invalid(fault: str, field: str, **facts: Any) -> InvalidBody:
    """A fault of a field that its model cannot see."""
    kind = PydanticCustomError(fault, fault, facts)
    details = InitErrorDetails(type=kind, loc=(field,), input=None)
    return InvalidBody(ValidationError.from_exception_data("body", [details]))


def names_of_model_once(body: bytes, model: BaseModel) -> None:
    """As `each_name_once`, for a body that this model was made of. Parses it again only if it may
    have more names than the model took."""
    # Without the blanks each name is followed by this; so may be a piece of a text.
    if body.translate(None, BLANKS).count(b'":') > _names_in(model):
        each_name_once(body)


def _names_in(model: BaseModel) -> int:
    """How many names the model took from the JSON: the JSON has no fewer."""
    count = len(model.__pydantic_fields_set__)
    for name in _members(type(model)):
        value = getattr(model, name)
        if isinstance(value, tuple | list):
            count += sum(map(_names_in, value))
        elif value is not None:
            count += _names_in(value)
    return count


@cache
def _members(model: type[BaseModel]) -> tuple[str, ...]:
    """The fields that hold a model, or several."""
    fields = model.model_fields.items()
    return tuple(name for name, field in fields if _is_of_models(field.annotation))


def _is_of_models(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(map(_is_of_models, get_args(annotation)))


# FastAPI does not see these models, since their routes read the bytes themselves.
_taken: dict[str, type[BaseModel]] = {}


def taken_models() -> Sequence[type[BaseModel]]:
    """The models that `takes` was given, by the routes that are imported."""
    return tuple(_taken.values())


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI entry of a route that reads its own body. Puts the model into the document."""
    known = _taken.setdefault(model.__name__, model)
    assert known is model, f"Bug! Two bodies share the schema name {model.__name__}."
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
