"""A claim after its grant: confirm, cancel, refund."""

from typing import Annotated, Any, assert_never

import structlog
from fastapi import APIRouter, Depends, Request, Response
from pydantic import TypeAdapter

from service.api.auth import MayClaim, Refusal, ServiceOf, own_retailer
from service.api.bodies import json_body, takes
from service.api.idempotency import REPLAYED, IdempotencyKey
from service.api.ids import ClaimId
from service.api.invalid import invalid_field
from service.api.models import LineNumbers
from service.api.problems import documented, language_of, problem
from service.api.wrong_state import Wish, wrong_state
from service.claims.claim import Claim
from service.claims.invoicing import WrongState
from service.claims.ledger.refund import Refund
from service.claims.lifecycle import NoSuchClaim, NoSuchLine, Refunded
from service.claims.outcomes import KeyReused
from service.core.checkout import Strict, Text

router = APIRouter(prefix="/v1/claims/{claim_id}", tags=["claims"])

REFUND_JSON = TypeAdapter(Refund)
ALWAYS = ("unauthorized", "missing_scope", "ledger_unavailable", "not_found", "wrong_state")
WITH_BODY = (*ALWAYS, "malformed_request", "body_too_large", "invalid_field")


@router.post(
    "/confirm",
    operation_id="confirm_claim",
    response_model=Claim,
    responses=documented(*ALWAYS, "overloaded"),
)
async def confirm(request: Request, service: ServiceOf, caller: MayClaim, claim_id: ClaimId) -> Any:
    """The customer has paid: the hold becomes a grant. A repeat is harmless."""
    outcome = await service.claims.lifecycle.end(own_retailer(caller), claim_id, "confirmed")
    return _ended(request, outcome, "confirm")


@router.post(
    "/cancel",
    operation_id="cancel_claim",
    response_model=Claim,
    responses=documented(*ALWAYS, "overloaded"),
)
async def cancel(request: Request, service: ServiceOf, caller: MayClaim, claim_id: ClaimId) -> Any:
    """The sale did not happen: the hold releases its money, serials and quotas. A repeat is
    harmless."""
    outcome = await service.claims.lifecycle.end(own_retailer(caller), claim_id, "cancelled")
    return _ended(request, outcome, "cancel")


def _ended(request: Request, outcome: Claim | WrongState | NoSuchClaim, wish: Wish) -> Any:
    match outcome:
        case Claim():
            structlog.contextvars.bind_contextvars(claim_id=str(outcome.claim_id))
            return outcome
        case WrongState():
            return _wrong_state(request, outcome, wish)
        case NoSuchClaim():
            raise Refusal("not_found")
    assert_never(outcome)


# --- refunds ----------------------------------------------------------------------------


class RefundRequest(Strict):
    """Which lines are refunded, and why."""

    lines: LineNumbers
    reason: Text


@router.post(
    "/refunds",
    operation_id="refund_claim",
    status_code=201,
    response_model=Refund,
    responses={
        201: REPLAYED,
        **documented(*WITH_BODY, "invalid_idempotency_key", "idempotency_key_reused", "overloaded"),
    },
    openapi_extra=takes(RefundRequest),
)
async def refund(
    request: Request,
    service: ServiceOf,
    caller: MayClaim,
    claim_id: ClaimId,
    body: Annotated[RefundRequest, Depends(json_body(RefundRequest))],
    idempotency_key: IdempotencyKey,
) -> Response:
    """Refund the subsidy of these lines, all or none, once for each Idempotency-Key. The amounts
    are those of the claim, whatever the rules are now."""
    outcome = await service.claims.lifecycle.refund(
        own_retailer(caller), idempotency_key, claim_id, body.lines, body.reason
    )
    match outcome:
        case Refunded(refund, replayed):
            headers = {"Idempotency-Replayed": "true"} if replayed else {}
            return Response(REFUND_JSON.dump_json(refund), 201, headers, "application/json")
        case KeyReused():
            return problem(request, "idempotency_key_reused")
        case WrongState():
            return _wrong_state(request, outcome, "refund")
        case NoSuchLine(line_no):
            return invalid_field(request, "lines", "no_such_line", {"line_no": line_no})
        case NoSuchClaim():
            raise Refusal("not_found")
    assert_never(outcome)


def _wrong_state(request: Request, error: WrongState, wish: Wish) -> Response:
    detail = wrong_state(wish, error.claim.state, language_of(request), error.lines)
    return problem(request, "wrong_state", detail=detail)
