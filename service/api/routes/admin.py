"""The operator's side: retailers, stores, keys, and the record of what was done to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from service.api.auth import Refusal, ServiceOf, allowed
from service.api.bodies import json_body, takes
from service.api.invalid import invalid_field
from service.api.office import office_of
from service.api.problems import documented
from service.core.calendar import SHANGHAI
from service.core.checkout import StoreId, Strict, Text
from service.db.acts import Act, read_acts
from service.db.engine import connect
from service.db.tables import api_key, retailer, store
from service.retailers.directory import Caller
from service.retailers.enrol import (
    Kind,
    NewStore,
    NotEnrolled,
    State,
    add_retailer,
    add_stores,
    good_uscc,
    page,
    set_state,
)
from service.retailers.issue import create_key, revoke_key, rotate_key
from service.retailers.keys import NewKey
from service.wiring import Service

IsAdmin = Annotated[Caller, Depends(allowed("admin"))]

router = APIRouter(
    prefix="/v1",
    tags=["admin"],
    responses=documented("unauthorized", "missing_scope", "ledger_unavailable"),
)

LIMIT_MAX = 500
WITH_BODY = ("malformed_request", "body_too_large", "invalid_field")
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
After = Annotated[StoreId | None, Query(description="`next_cursor` of the page before")]


def _uscc(number: str) -> str:
    try:
        return good_uscc(number)
    except ValueError:
        raise PydanticCustomError("uscc", "not a USCC") from None


# --- wire models ------------------------------------------------------------------------


class RetailerBody(Strict):
    """A retailer to enrol."""

    retailer_id: StoreId
    uscc: Annotated[str, AfterValidator(_uscc)] = Field(description="GB 32100, 18 characters")
    name: Text


class StoreBody(Strict):
    """A store to enrol."""

    store_id: StoreId
    retailer_id: StoreId
    name: Text
    town: Text | None = None


class KeyBody(Strict):
    """A key to make; a pos key belongs to a retailer."""

    role: Literal["pos", "finance", "bureau", "admin"]
    label: Text
    retailer_id: StoreId | None = None


class ReasonBody(Strict):
    reason: Text


class RotateBody(Strict):
    overlap_hours: int = Field(24, ge=0, le=720, description="how long the old key stays good")


@dataclass(frozen=True, slots=True)
class Retailer:
    retailer_id: str
    uscc: str
    name: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Store:
    store_id: str
    retailer_id: str
    name: str
    town: str | None
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Key:
    """A key as listed; its secret was shown once, when it was made."""

    key_id: str
    retailer_id: str | None
    label: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key. The secret is shown here, and never again."""

    key_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class Retailers:
    retailers: Sequence[Retailer]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Stores:
    stores: Sequence[Store]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Keys:
    keys: Sequence[Key]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Acts:
    acts: Sequence[Act]
    next_cursor: int | None


# --- routes -----------------------------------------------------------------------------


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
        async with office_of(service, caller) as office:
            await add_retailer(
                office, retailer_id=body.retailer_id, uscc_number=body.uscc, name=body.name
            )
    except NotEnrolled as error:
        raise Refusal(error.code) from None
    return await _one(service, retailer, Retailer, body.retailer_id)


@router.get("/retailers", response_model=Retailers, responses=documented("invalid_field"))
async def list_retailers(
    service: ServiceOf, caller: IsAdmin, cursor: After = None, limit: Limit = 100
) -> Any:
    """Every retailer, by id."""
    rows, more = await _page(service, retailer, Retailer, cursor, limit)
    return Retailers(rows, more)


@router.get("/retailers/{retailer_id}", response_model=Retailer, responses=documented("not_found"))
async def get_retailer(service: ServiceOf, caller: IsAdmin, retailer_id: str) -> Any:
    """One retailer."""
    return await _one(service, retailer, Retailer, retailer_id)


@router.post(
    "/retailers/{retailer_id}/suspend",
    response_model=Retailer,
    responses=documented(*WITH_BODY, "not_found"),
    openapi_extra=takes(ReasonBody),
)
async def suspend_retailer(
    service: ServiceOf,
    caller: IsAdmin,
    retailer_id: str,
    body: Annotated[ReasonBody, Depends(json_body(ReasonBody))],
) -> Any:
    """Its next claim is refused, everywhere within seconds. A repeat is harmless."""
    await _set_state(service, caller, "retailer", retailer_id, "suspended", body.reason)
    return await _one(service, retailer, Retailer, retailer_id)


@router.post(
    "/retailers/{retailer_id}/resume",
    response_model=Retailer,
    responses=documented(*WITH_BODY, "not_found"),
    openapi_extra=takes(ReasonBody),
)
async def resume_retailer(
    service: ServiceOf,
    caller: IsAdmin,
    retailer_id: str,
    body: Annotated[ReasonBody, Depends(json_body(ReasonBody))],
) -> Any:
    """It may claim again. A repeat is harmless."""
    await _set_state(service, caller, "retailer", retailer_id, "active", body.reason)
    return await _one(service, retailer, Retailer, retailer_id)


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
        async with office_of(service, caller) as office:
            await add_stores(office, body.retailer_id, [new])
    except NotEnrolled as error:
        return _refused(request, error)
    return await _one(service, store, Store, body.store_id)


@router.get("/stores", response_model=Stores, responses=documented("invalid_field"))
async def list_stores(
    service: ServiceOf,
    caller: IsAdmin,
    retailer_id: Annotated[StoreId | None, Query()] = None,
    cursor: After = None,
    limit: Limit = 100,
) -> Any:
    """Every store, or one retailer's, by id."""
    rows, more = await _page(service, store, Store, cursor, limit, retailer_id)
    return Stores(rows, more)


@router.get("/stores/{store_id}", response_model=Store, responses=documented("not_found"))
async def get_store(service: ServiceOf, caller: IsAdmin, store_id: str) -> Any:
    """One store."""
    return await _one(service, store, Store, store_id)


@router.post(
    "/stores/{store_id}/suspend",
    response_model=Store,
    responses=documented(*WITH_BODY, "not_found"),
    openapi_extra=takes(ReasonBody),
)
async def suspend_store(
    service: ServiceOf,
    caller: IsAdmin,
    store_id: str,
    body: Annotated[ReasonBody, Depends(json_body(ReasonBody))],
) -> Any:
    """Its next claim is refused, everywhere within seconds. A repeat is harmless."""
    await _set_state(service, caller, "store", store_id, "suspended", body.reason)
    return await _one(service, store, Store, store_id)


@router.post(
    "/stores/{store_id}/resume",
    response_model=Store,
    responses=documented(*WITH_BODY, "not_found"),
    openapi_extra=takes(ReasonBody),
)
async def resume_store(
    service: ServiceOf,
    caller: IsAdmin,
    store_id: str,
    body: Annotated[ReasonBody, Depends(json_body(ReasonBody))],
) -> Any:
    """It may claim again. A repeat is harmless."""
    await _set_state(service, caller, "store", store_id, "active", body.reason)
    return await _one(service, store, Store, store_id)


@router.post(
    "/keys",
    status_code=201,
    response_model=MadeKey,
    responses=documented(*WITH_BODY),
    openapi_extra=takes(KeyBody),
)
async def post_key(
    request: Request,
    service: ServiceOf,
    caller: IsAdmin,
    body: Annotated[KeyBody, Depends(json_body(KeyBody))],
) -> Any:
    """Make a key. Its secret is in this answer, and nowhere else."""
    try:
        async with office_of(service, caller) as office:
            key = await create_key(
                office, role=body.role, retailer_id=body.retailer_id, label=body.label
            )
    except NotEnrolled as error:
        return _refused(request, error)
    return _made(key)


@router.get("/keys", response_model=Keys, responses=documented("invalid_field"))
async def list_keys(
    service: ServiceOf,
    caller: IsAdmin,
    retailer_id: Annotated[StoreId | None, Query()] = None,
    cursor: After = None,
    limit: Limit = 100,
) -> Any:
    """Every key, or one retailer's, by id; never a secret."""
    await service.directory.last_used.write()  # what other workers noted comes within seconds
    rows, more = await _page(service, api_key, Key, cursor, limit, retailer_id)
    return Keys(rows, more)


@router.post(
    "/keys/{key_id}/rotate",
    status_code=201,
    response_model=MadeKey,
    responses=documented(*WITH_BODY, "not_found", "key_ended"),
    openapi_extra=takes(RotateBody),
)
async def post_rotation(
    service: ServiceOf,
    caller: IsAdmin,
    key_id: str,
    body: Annotated[RotateBody, Depends(json_body(RotateBody))],
) -> Any:
    """A new key in the place of this one, which stays good for `overlap_hours`."""
    overlap = timedelta(hours=body.overlap_hours)
    try:
        async with office_of(service, caller) as office:
            key = await rotate_key(office, _id(key_id), overlap)
    except NotEnrolled as error:
        raise Refusal(error.code) from None
    if key is None:
        raise Refusal("not_found")
    return _made(key)


@router.post(
    "/keys/{key_id}/revoke",
    response_model=Key,
    responses=documented(*WITH_BODY, "not_found"),
    openapi_extra=takes(ReasonBody),
)
async def post_revocation(
    service: ServiceOf,
    caller: IsAdmin,
    key_id: str,
    body: Annotated[ReasonBody, Depends(json_body(ReasonBody))],
) -> Any:
    """End a key, everywhere within seconds. A repeat is harmless."""
    async with office_of(service, caller) as office:
        found = await revoke_key(office, _id(key_id), body.reason)
    if not found:
        raise Refusal("not_found")
    return await _one(service, api_key, Key, key_id)


@router.get("/acts", response_model=Acts, responses=documented("invalid_field"))
async def list_acts(
    service: ServiceOf,
    caller: IsAdmin,
    cursor: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Limit = 100,
) -> Any:
    """What was done to retailers, stores, keys and budgets, newest first."""
    async with connect(service.engine) as connection:
        acts = await read_acts(
            connection, service.settings.jurisdiction, before_no=cursor, limit=limit + 1
        )
    return Acts(acts[:limit], acts[limit - 1].act_no if len(acts) > limit else None)


# --- the database -----------------------------------------------------------------------


def _id(text: str) -> str:
    """An id of a path that may be one at all: not every text is one to PostgreSQL (NUL)."""
    if not text.isascii() or not text.isprintable():
        raise Refusal("not_found")
    return text


async def _one(service: Service, table: sa.Table, shape: Any, wanted: str) -> Any:
    key = list(table.primary_key)[1]
    query = sa.select(*_columns(table, shape)).where(
        table.c.jurisdiction == service.settings.jurisdiction, key == _id(wanted)
    )
    async with connect(service.engine) as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise Refusal("not_found")
    return _shaped(shape, row)


async def _page(
    service: Service,
    table: sa.Table,
    shape: Any,
    cursor: str | None,
    limit: int,
    retailer_id: str | None = None,
) -> tuple[list[Any], str | None]:
    key = list(table.primary_key)[1]
    query = page(table, key, service.settings.jurisdiction, cursor, limit + 1)
    query = query.with_only_columns(*_columns(table, shape))
    if retailer_id is not None:
        query = query.where(table.c.retailer_id == retailer_id)
    async with connect(service.engine) as connection:
        rows = [_shaped(shape, row) for row in await connection.execute(query)]
    more = getattr(rows[limit - 1], key.name) if len(rows) > limit else None
    return rows[:limit], more


def _columns(table: sa.Table, shape: Any) -> list[sa.Column[Any]]:
    return [table.c[name] for name in shape.__dataclass_fields__]


def _shaped(shape: Any, row: sa.Row[Any]) -> Any:
    """The row as the API shows it, with instants in the time zone of the business."""
    return shape(*(one.astimezone(SHANGHAI) if isinstance(one, datetime) else one for one in row))


async def _set_state(
    service: Service, caller: Caller, kind: Kind, subject_id: str, state: State, reason: str
) -> None:
    async with office_of(service, caller) as office:
        found = await set_state(office, kind, _id(subject_id), state, reason)
    if not found:
        raise Refusal("not_found")


def _refused(request: Request, error: NotEnrolled) -> Any:
    """A fault of the body's retailer is the field's; any other has a code of its own."""
    if error.code in ("unknown_retailer", "role_and_retailer"):
        return invalid_field(request, "retailer_id", error.code)
    raise Refusal(error.code) from None


def _made(key: NewKey) -> MadeKey:
    return MadeKey(key.key_id, key.secret)
