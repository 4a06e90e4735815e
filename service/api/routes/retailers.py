"""Retailers and their stores: enrolled, suspended, resumed."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from service.api.act_context import act_context
from service.api.auth import IsAdmin, Refusal, ServiceOf
from service.api.bodies import json_body, takes
from service.api.enrolled import (
    WITH_BODY,
    After,
    Limit,
    ReasonBody,
    admin_router,
    read_one,
    read_page,
    refused,
)
from service.api.ids import path_id
from service.api.problems import documented
from service.api.query import only
from service.core.checkout import StoreId, Strict, Text
from service.db.tables import retailer, store
from service.retailers.enrol import (
    EnrolledKind,
    EnrolledState,
    NewStore,
    NotEnrolled,
    add_retailer,
    add_stores,
    good_uscc,
    set_state,
)

router = admin_router()


def _uscc(number: str) -> str:
    try:
        return good_uscc(number)
    except ValueError:
        raise PydanticCustomError("uscc", "not a USCC") from None


# --- retailers --------------------------------------------------------------------------


class RetailerBody(Strict):
    """A retailer to enrol."""

    retailer_id: StoreId
    uscc: Annotated[str, AfterValidator(_uscc)] = Field(description="GB 32100, 18 characters")
    name: Text


@dataclass(frozen=True, slots=True)
class Retailer:
    retailer_id: str
    uscc: str
    name: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Retailers:
    retailers: Sequence[Retailer]
    next_cursor: str | None


@router.post(
    "/retailers",
    status_code=201,
    response_model=Retailer,
    responses=documented(*WITH_BODY, "already_exists"),
    openapi_extra=takes(RetailerBody),
)
async def post_retailer(
    service: ServiceOf,
    caller: IsAdmin,
    body: Annotated[RetailerBody, Depends(json_body(RetailerBody))],
) -> Any:
    """Enrol a retailer."""
    try:
        async with act_context(service, caller) as context:
            await add_retailer(
                context, retailer_id=body.retailer_id, uscc_number=body.uscc, name=body.name
            )
    except NotEnrolled as error:
        raise Refusal(error.code) from None
    return await read_one(service, retailer, Retailer, body.retailer_id)


@router.get(
    "/retailers",
    dependencies=[Depends(only("cursor", "limit"))],
    response_model=Retailers,
    responses=documented("invalid_field"),
)
async def list_retailers(
    service: ServiceOf, caller: IsAdmin, cursor: After = None, limit: Limit = 100
) -> Any:
    """Every retailer, by id."""
    rows, more = await read_page(service, retailer, Retailer, cursor, limit)
    return Retailers(rows, more)


@router.get("/retailers/{retailer_id}", response_model=Retailer, responses=documented("not_found"))
async def get_retailer(service: ServiceOf, caller: IsAdmin, retailer_id: str) -> Any:
    """One retailer."""
    return await read_one(service, retailer, Retailer, retailer_id)


# --- stores -----------------------------------------------------------------------------


class StoreBody(Strict):
    """A store to enrol."""

    store_id: StoreId
    retailer_id: StoreId
    name: Text
    town: Text | None = None


@dataclass(frozen=True, slots=True)
class Store:
    store_id: str
    retailer_id: str
    name: str
    town: str | None
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Stores:
    stores: Sequence[Store]
    next_cursor: str | None


@router.post(
    "/stores",
    status_code=201,
    response_model=Store,
    responses=documented(*WITH_BODY, "already_exists"),
    openapi_extra=takes(StoreBody),
)
async def post_store(
    request: Request,
    service: ServiceOf,
    caller: IsAdmin,
    body: Annotated[StoreBody, Depends(json_body(StoreBody))],
) -> Any:
    """Enrol a store of an enrolled retailer."""
    new = NewStore(body.store_id, body.name, body.town)
    try:
        async with act_context(service, caller) as context:
            await add_stores(context, body.retailer_id, [new])
    except NotEnrolled as error:
        return refused(request, error)
    return await read_one(service, store, Store, body.store_id)


@router.get(
    "/stores",
    dependencies=[Depends(only("retailer_id", "cursor", "limit"))],
    response_model=Stores,
    responses=documented("invalid_field"),
)
async def list_stores(
    service: ServiceOf,
    caller: IsAdmin,
    retailer_id: Annotated[StoreId | None, Query()] = None,
    cursor: After = None,
    limit: Limit = 100,
) -> Any:
    """Every store, or one retailer's, by id."""
    rows, more = await read_page(service, store, Store, cursor, limit, retailer_id)
    return Stores(rows, more)


@router.get("/stores/{store_id}", response_model=Store, responses=documented("not_found"))
async def get_store(service: ServiceOf, caller: IsAdmin, store_id: str) -> Any:
    """One store."""
    return await read_one(service, store, Store, store_id)


# --- suspend and resume -----------------------------------------------------------------

SWITCHES: tuple[tuple[str, EnrolledState, str], ...] = (
    (
        "suspend",
        "suspended",
        "Its next claim is refused, everywhere within seconds. A repeat is harmless.",
    ),
    ("resume", "active", "It may claim again. A repeat is harmless."),
)


def _add_switches(kind: EnrolledKind, table: sa.Table, shape: type[Retailer | Store]) -> None:
    """The two routes that suspend and resume a retailer or a store."""
    for verb, state, description in SWITCHES:
        router.add_api_route(
            f"/{kind}s/{{{kind}_id}}/{verb}",
            _switch(kind, state, table, shape),
            methods=["POST"],
            name=f"{verb}_{kind}",
            description=description,
            response_model=shape,
            responses=documented(*WITH_BODY, "not_found"),
            openapi_extra=takes(ReasonBody),
        )


def _switch(
    kind: EnrolledKind, state: EnrolledState, table: sa.Table, shape: type[Retailer | Store]
) -> Callable[..., Awaitable[Any]]:
    async def switch(
        service: ServiceOf,
        caller: IsAdmin,
        subject_id: Annotated[str, Path(alias=f"{kind}_id")],
        body: Annotated[ReasonBody, Depends(json_body(ReasonBody))],
    ) -> Any:
        async with act_context(service, caller) as context:
            known = await set_state(context, kind, path_id(subject_id), state, body.reason)
        if not known:
            raise Refusal("not_found")
        return await read_one(service, table, shape, subject_id)

    return switch


_add_switches("retailer", retailer, Retailer)
_add_switches("store", store, Store)
