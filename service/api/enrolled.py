"""What the admin routes share: their router, pages, and rows as the API shows them."""

from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request

from service.api.auth import Refusal
from service.api.ids import path_id
from service.api.invalid import invalid_field
from service.api.problems import documented
from service.core.calendar import SHANGHAI
from service.core.checkout import StoreId, Strict, Text
from service.db.engine import connect
from service.retailers.enrol import NotEnrolled, page
from service.wiring import Service

LIMIT_MAX = 500
WITH_BODY = ("malformed_request", "body_too_large", "invalid_field")
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
After = Annotated[StoreId | None, Query(description="`next_cursor` of the page before")]


def admin_router() -> APIRouter:
    return APIRouter(
        prefix="/v1",
        tags=["admin"],
        responses=documented("unauthorized", "missing_scope", "ledger_unavailable"),
    )


class ReasonBody(Strict):
    reason: Text


async def read_one(service: Service, table: sa.Table, shape: Any, row_id: str) -> Any:
    """The row of this id as a `shape`, whose fields name the columns. Raises Refusal or
    LedgerAway."""
    key = list(table.primary_key)[1]
    query = sa.select(*_columns(table, shape)).where(
        table.c.jurisdiction == service.settings.jurisdiction, key == path_id(row_id)
    )
    async with connect(service.engine) as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise Refusal("not_found")
    return _shaped(shape, row)


async def read_page(
    service: Service,
    table: sa.Table,
    shape: Any,
    cursor: str | None,
    limit: int,
    retailer_id: str | None = None,
) -> tuple[list[Any], str | None]:
    """(at most `limit` rows after `cursor`, the next page's cursor). Raises LedgerAway."""
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
    """The row as the API shows it, with instants in Asia/Shanghai."""
    return shape(*(v.astimezone(SHANGHAI) if isinstance(v, datetime) else v for v in row))


def refused(request: Request, error: NotEnrolled) -> Any:
    """The problem: about the field `retailer_id`, or with the error's own code."""
    if error.code in ("unknown_retailer", "role_and_retailer"):
        return invalid_field(request, "retailer_id", error.code)
    raise Refusal(error.code) from None
