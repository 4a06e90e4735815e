"""Budgets: read from the ledger, so exact; adjusted by paper, and released in tranches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import AfterValidator, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from service.api.act_context import act_context
from service.api.auth import IsAdmin, Refusal, ServiceOf, may_read_budgets
from service.api.bodies import json_body, takes
from service.api.idempotency import REPLAYED, IdempotencyKey
from service.api.ids import path_uuid
from service.api.invalid import invalid_field
from service.api.models import Budgets, PoolOutlook
from service.api.problems import documented, problem
from service.core.calendar import SHANGHAI
from service.core.checkout import Instant, Strict, Text
from service.core.money import yuan
from service.db.engine import connect, driver
from service.pools.adjustments import (
    BUDGET_MAX_FEN,
    AboveAll,
    Adjustment,
    BelowSpent,
    NoSuchPool,
    OtherBody,
    adjust,
)
from service.pools.budgets import Allocation, Budget, read_budgets
from service.pools.tranches import Tranche, list_tranches, plan, withdraw

router = APIRouter(
    prefix="/v1/budgets",
    tags=["budgets"],
    responses=documented("unauthorized", "missing_scope", "ledger_unavailable"),
)
MAY_READ = [Depends(may_read_budgets)]
WITH_BODY = ("malformed_request", "body_too_large", "invalid_field", "not_found")
ADJUSTMENT_JSON = TypeAdapter(Adjustment)


@router.get("", dependencies=MAY_READ)
async def list_budgets(service: ServiceOf) -> Budgets:
    """What each pool was allocated, what of it is confirmed and reserved, and what is left."""
    async with driver(service.engine) as connection:
        return Budgets(await read_budgets(connection, service.settings.jurisdiction))


@router.get("/{pool}", dependencies=MAY_READ, responses=documented("not_found"))
async def read_budget(service: ServiceOf, pool: str) -> Budget:
    """The state of one pool. Amounts in fen."""
    async with driver(service.engine) as connection:
        budgets = await read_budgets(connection, service.settings.jurisdiction)
    # A name from outside never reaches a statement: not every text is one to PostgreSQL (NUL).
    for budget in budgets:
        if budget.pool == pool:
            return budget
    raise Refusal("not_found")


@router.get("/{pool}/forecast", dependencies=MAY_READ, responses=documented("not_found"))
async def read_forecast(service: ServiceOf, pool: str) -> PoolOutlook:
    """The day on which the pool is first empty: a median and an 80 % range. It is made anew every
    quarter of a minute, and is the one that `/board` and `/metrics` show."""
    budgets = await service.pools.watch.view()
    pool_forecast = budgets.forecasts.get(pool)
    if pool_forecast is None:
        raise Refusal("not_found")
    forecast = pool_forecast.forecast
    return PoolOutlook(
        pool=pool,
        made_at=budgets.forecast_at.astimezone(SHANGHAI),
        outlook=forecast.outlook,
        earliest_on=forecast.earliest_on,
        median_on=forecast.median_on,
        latest_on=forecast.latest_on,
        ends_on=pool_forecast.ends_on,
        daily_fen=forecast.daily_fen,
        days=forecast.days,
    )


# --- adjustments ------------------------------------------------------------------------


def _not_zero(fen: int) -> int:
    if fen == 0:
        raise PydanticCustomError("not_equal", "must not be 0")
    return fen


class AdjustmentBody(Strict):
    """How much more (or, negative, less) a budget gets, and the paper that orders it."""

    delta_fen: Annotated[int, AfterValidator(_not_zero)] = Field(
        ge=-BUDGET_MAX_FEN, le=BUDGET_MAX_FEN
    )
    reason: Text
    document_no: Text


@router.post(
    "/{pool}/adjustments",
    status_code=201,
    response_model=Adjustment,
    responses={
        201: REPLAYED,
        **documented(
            *WITH_BODY, "invalid_idempotency_key", "idempotency_key_reused", "budget_below_spent"
        ),
    },
    openapi_extra=takes(AdjustmentBody),
)
async def post_adjustment(
    request: Request,
    service: ServiceOf,
    caller: IsAdmin,
    pool: str,
    body: Annotated[AdjustmentBody, Depends(json_body(AdjustmentBody))],
    idempotency_key: IdempotencyKey,
) -> Response:
    """Raise or lower a budget, never below what is spent, once for each Idempotency-Key."""
    allocation = Allocation(pool, body.delta_fen, body.document_no, body.reason)
    async with act_context(service, caller) as context:
        outcome = await adjust(context, idempotency_key, allocation, service.book.pools)
    match outcome:
        case Adjustment():
            headers = {"Idempotency-Replayed": "true"} if outcome.replayed else {}
            content = ADJUSTMENT_JSON.dump_json(outcome, exclude={"replayed"})
            return Response(content, 201, headers, "application/json")
        case BelowSpent(free_fen):
            facts = {"free": yuan(free_fen)}
            return problem(request, "budget_below_spent", facts=facts)
        case AboveAll():
            return invalid_field(request, "delta_fen", "budget_above_all")
        case OtherBody():
            return problem(request, "idempotency_key_reused")
        case NoSuchPool():
            raise Refusal("not_found")
    assert_never(outcome)


# --- tranches ---------------------------------------------------------------------------


class TrancheBody(Strict):
    """A part of the budget that opens by itself; one of the past opens at once."""

    opens_at: Instant
    amount_fen: int = Field(gt=0, le=BUDGET_MAX_FEN)
    document_no: Text


async def _known_pool(service: ServiceOf, pool: str) -> str:
    if pool not in service.book.pools:
        raise Refusal("not_found")
    return pool


KnownPool = Annotated[str, Depends(_known_pool)]
TrancheId = Annotated[UUID, path_uuid("tranche_id")]


@dataclass(frozen=True, slots=True)
class Tranches:
    tranches: Sequence[Tranche]


@router.get("/{pool}/tranches", dependencies=MAY_READ, responses=documented("not_found"))
async def read_tranches(service: ServiceOf, pool: KnownPool) -> Tranches:
    """What of the budget is planned, has opened or was withdrawn, by time."""
    async with connect(service.engine) as connection:
        return Tranches(await list_tranches(connection, service.settings.jurisdiction, pool))


@router.post(
    "/{pool}/tranches",
    status_code=201,
    response_model=Tranche,
    responses=documented(*WITH_BODY),
    openapi_extra=takes(TrancheBody),
)
async def post_tranche(
    service: ServiceOf,
    caller: IsAdmin,
    body: Annotated[TrancheBody, Depends(json_body(TrancheBody))],
    pool: KnownPool,
) -> Any:
    """Plan a tranche. A repeat is harmless: one paper brings the same sum at one time only once."""
    async with act_context(service, caller) as context:
        return await plan(
            context, pool, body.opens_at, body.amount_fen, body.document_no, service.book.pools
        )


@router.post(
    "/{pool}/tranches/{tranche_id}/withdraw",
    response_model=Tranche,
    responses=documented("not_found", "tranche_ended"),
)
async def post_withdrawal(
    service: ServiceOf, caller: IsAdmin, pool: KnownPool, tranche_id: TrancheId
) -> Any:
    """Take a tranche back that is still planned. A repeat is harmless."""
    async with act_context(service, caller) as context:
        tranche = await withdraw(context, pool, tranche_id)
    if tranche is None:
        raise Refusal("not_found")
    if tranche.state != "withdrawn":
        raise Refusal("tranche_ended")
    return tranche
