"""Settlements: drafted with one key, approved with another, paid; or voided while a draft. Finance
acts and reads; a retailer reads its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field, TypeAdapter, model_validator

from service.api.auth import MayFinance, MayReadSettlements, Refusal, ServiceOf, own_retailer
from service.api.bodies import json_body, takes
from service.api.ids import path_uuid
from service.api.problems import documented
from service.api.query import Name, in_order, only
from service.core.checkout import Day, Strict, Text
from service.core.money import WHOLE_BP
from service.db.engine import driver
from service.finance.settlements.settlement import (
    AdvanceOutstanding,
    AdvanceTooLarge,
    NoSuchRecord,
    NothingToSettle,
    RetailerSuspended,
    SameKey,
    Settlement,
    SettlementActor,
    SettlementOutcome,
    SettlementPeriod,
    SettlementState,
    WrongSettlementState,
)
from service.finance.settlements.settlements import Settlements
from service.finance.settlements.statement import (
    STATEMENT_FILES,
    Statement,
    StatementFormat,
    read_statement,
)
from service.retailers.directory import Caller
from service.wiring import Service

router = APIRouter(
    prefix="/v1/settlements",
    tags=["finance"],
    responses=documented("unauthorized", "missing_scope", "ledger_unavailable", "overloaded"),
)
WITH_BODY = ("malformed_request", "body_too_large", "invalid_field")
STATEMENT_JSON = TypeAdapter(Statement)


class SettlementBody(Strict):
    """`advance_bp`: pay this share of what is due in advance, instead of settling it."""

    retailer_id: Name
    from_on: Day = Field(alias="from")
    to_on: Day = Field(alias="to")
    advance_bp: int | None = Field(None, strict=True, gt=0, le=WHOLE_BP)

    _in_order = model_validator(mode="after")(in_order)


class PaymentBody(Strict):
    payment_reference: Text


class VoidBody(Strict):
    reason: Text


class SettlementList(BaseModel):
    settlements: list[Settlement]


SettlementId = Annotated[UUID, path_uuid("settlement_id")]


@router.post(
    "",
    status_code=201,
    responses=documented(
        *WITH_BODY, "not_found", "nothing_to_settle", "advance_outstanding", "invalid_field"
    ),
    openapi_extra=takes(SettlementBody),
)
async def draft_settlement(
    service: ServiceOf,
    caller: MayFinance,
    body: Annotated[SettlementBody, Depends(json_body(SettlementBody))],
) -> Settlement:
    """Freeze a retailer's invoiced entries of a period, each settled once, with their net."""
    period = SettlementPeriod(body.retailer_id, body.from_on, body.to_on)
    actor = _actor(service, caller)
    async with _settlements(service) as settlements:
        if body.advance_bp is None:
            outcome = await settlements.draft(period, actor)
        else:
            outcome = await settlements.advance(period, body.advance_bp, actor)
    return _answer(outcome)


@router.get(
    "",
    dependencies=[Depends(only("retailer", "state"))],
    responses=documented("invalid_field"),
)
async def list_settlements(
    service: ServiceOf,
    caller: MayReadSettlements,
    retailer: Annotated[Name | None, Query()] = None,
    state: Annotated[SettlementState | None, Query()] = None,
) -> SettlementList:
    """The newest ones. With the scope `claims` your own: whether they are drafted, approved, paid
    or voided, and with which payment reference."""
    own = _own(caller)
    if own is not None and retailer not in (None, own):
        return SettlementList(settlements=[])  # another's look as if there were none
    async with driver(service.engine) as connection:
        settlements = Settlements(connection, service.settings.jurisdiction)
        return SettlementList(settlements=await settlements.newest(own or retailer, state))


@router.get("/{settlement_id}", responses=documented("not_found"))
async def read_settlement(
    service: ServiceOf, caller: MayReadSettlements, settlement_id: SettlementId
) -> Settlement:
    """One settlement. With the scope `claims` one of your own."""
    # Not on a report's connection: those are few, and retailers are many.
    async with driver(service.engine) as connection:
        settlements = Settlements(connection, service.settings.jurisdiction)
        return _readable(caller, await settlements.read(settlement_id))


@router.get(
    "/{settlement_id}/statement",
    dependencies=[Depends(only("format"))],
    response_model=Statement,
    responses={
        200: {
            "content": {
                kind: {"schema": {"type": "string"}} for _, kind in STATEMENT_FILES.values()
            }
        },
        **documented("not_found", "invalid_field"),
    },
)
async def read_statement_file(
    service: ServiceOf,
    caller: MayReadSettlements,
    settlement_id: SettlementId,
    format_: Annotated[StatementFormat, Query(alias="format")] = "json",
) -> Response:
    """The settlement with each of its entries, to file: json, csv, xlsx or pdf. With the scope
    `claims` of your own settlements only."""
    jurisdiction = service.settings.jurisdiction
    async with service.reports.connection() as connection:
        outcome = await Settlements(connection, jurisdiction).read(settlement_id)
        settlement = _readable(caller, outcome)
        statement = await read_statement(connection, jurisdiction, settlement)
    if format_ == "json":
        return Response(STATEMENT_JSON.dump_json(statement), 200, media_type="application/json")
    make, media_type = STATEMENT_FILES[format_]
    name = f"settlement-{settlement_id}.{format_}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(await asyncio.to_thread(make, statement), 200, headers, media_type)


@router.post(
    "/{settlement_id}/approve",
    responses=documented(
        "not_found", "same_key", "wrong_state", "retailer_suspended", "advance_too_large"
    ),
)
async def approve_settlement(
    service: ServiceOf, caller: MayFinance, settlement_id: SettlementId
) -> Settlement:
    """Approve, with another key than the draft's. Refunds and advances that came since are
    netted; nothing is approved for a suspended retailer."""
    actor = _actor(service, caller)
    async with _settlements(service) as settlements:
        return _answer(await settlements.approve(settlement_id, actor))


@router.post(
    "/{settlement_id}/pay",
    responses=documented(*WITH_BODY, "not_found", "wrong_state"),
    openapi_extra=takes(PaymentBody),
)
async def pay_settlement(
    service: ServiceOf,
    caller: MayFinance,
    settlement_id: SettlementId,
    body: Annotated[PaymentBody, Depends(json_body(PaymentBody))],
) -> Settlement:
    """Note the payment of an approved settlement, with its reference."""
    actor = _actor(service, caller)
    async with _settlements(service) as settlements:
        return _answer(await settlements.pay(settlement_id, body.payment_reference, actor))


@router.post(
    "/{settlement_id}/void",
    responses=documented(*WITH_BODY, "not_found", "wrong_state", "advance_outstanding"),
    openapi_extra=takes(VoidBody),
)
async def void_settlement(
    service: ServiceOf,
    caller: MayFinance,
    settlement_id: SettlementId,
    body: Annotated[VoidBody, Depends(json_body(VoidBody))],
) -> Settlement:
    """Withdraw a draft that was made in error. It stays on record; its entries are free again."""
    actor = _actor(service, caller)
    async with _settlements(service) as settlements:
        return _answer(await settlements.void(settlement_id, body.reason, actor))


@asynccontextmanager
async def _settlements(service: Service) -> AsyncIterator[Settlements]:
    """On a connection of its own. Raises LedgerAway or ReportsBusy."""
    async with service.reports.connection() as connection:
        yield Settlements(connection, service.settings.jurisdiction)


def _own(caller: Caller) -> str | None:
    """The retailer whose settlements the caller may read. None: those of every retailer."""
    return None if "finance" in caller.scopes else own_retailer(caller)


def _readable(caller: Caller, outcome: SettlementOutcome) -> Settlement:
    """The settlement. Raises Refusal, for another retailer's as for one that is not there."""
    settlement = _answer(outcome)
    if _own(caller) not in (None, settlement.retailer_id):
        raise Refusal("not_found")
    return settlement


def _actor(service: Service, caller: Caller) -> SettlementActor:
    return SettlementActor(caller.key_id, service.clock.now())


def _answer(outcome: SettlementOutcome) -> Settlement:
    match outcome:
        case Settlement():
            return outcome
        case NoSuchRecord():
            raise Refusal("not_found")
        case NothingToSettle():
            raise Refusal("nothing_to_settle", outcome.why())
        case AdvanceOutstanding():
            raise Refusal("advance_outstanding")
        case AdvanceTooLarge():
            raise Refusal("advance_too_large")
        case RetailerSuspended():
            raise Refusal("retailer_suspended")
        case SameKey():
            raise Refusal("same_key")
        case WrongSettlementState():
            raise Refusal("wrong_state", outcome.why())
    assert_never(outcome)
