"""Makes, rotates and revokes keys; lists the record of every admin act."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from pydantic import Field

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
from service.db.acts import Act, read_acts
from service.db.engine import connect
from service.db.tables import api_key
from service.retailers.enrol import NotEnrolled
from service.retailers.issue import create_key, revoke_key, rotate_key
from service.retailers.keys import NewKey

router = admin_router()


class KeyBody(Strict):
    """A key to make; a pos key belongs to a retailer."""

    role: Literal["pos", "finance", "bureau", "admin"]
    label: Text
    retailer_id: StoreId | None = None


class RotateBody(Strict):
    overlap_hours: int = Field(24, ge=0, le=720, description="how long the old key stays good")


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
class Keys:
    keys: Sequence[Key]
    next_cursor: str | None


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
        async with act_context(service, caller) as context:
            key = await create_key(
                context, role=body.role, retailer_id=body.retailer_id, label=body.label
            )
    except NotEnrolled as error:
        return refused(request, error)
    return _made(key)


@router.get(
    "/keys",
    dependencies=[Depends(only("retailer_id", "cursor", "limit"))],
    response_model=Keys,
    responses=documented("invalid_field"),
)
async def list_keys(
    service: ServiceOf,
    caller: IsAdmin,
    retailer_id: Annotated[StoreId | None, Query()] = None,
    cursor: After = None,
    limit: Limit = 100,
) -> Any:
    """Every key, or one retailer's, by id; never a secret."""
    await service.callers.directory.last_used.write()  # other workers write theirs within seconds
    rows, more = await read_page(service, api_key, Key, cursor, limit, retailer_id)
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
    """Replace a key. The old one stays valid for `overlap_hours`."""
    overlap = timedelta(hours=body.overlap_hours)
    try:
        async with act_context(service, caller) as context:
            key = await rotate_key(context, path_id(key_id), overlap)
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
    """Revoke a key. Every worker refuses it within seconds. A repeat is harmless."""
    async with act_context(service, caller) as context:
        known = await revoke_key(context, path_id(key_id), body.reason)
    if not known:
        raise Refusal("not_found")
    return await read_one(service, api_key, Key, key_id)


def _made(key: NewKey) -> MadeKey:
    return MadeKey(key.key_id, key.secret)


# --- acts -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Acts:
    acts: Sequence[Act]
    next_cursor: int | None


@router.get(
    "/acts",
    dependencies=[Depends(only("cursor", "limit"))],
    response_model=Acts,
    responses=documented("invalid_field"),
)
async def list_acts(
    service: ServiceOf,
    caller: IsAdmin,
    cursor: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Limit = 100,
) -> Any:
    """What was done to retailers, stores, keys and budgets, and each search for a person's claims,
    newest first."""
    async with connect(service.engine) as connection:
        acts = await read_acts(
            connection, service.settings.jurisdiction, before_no=cursor, limit=limit + 1
        )
    return Acts(acts[:limit], acts[limit - 1].act_no if len(acts) > limit else None)
