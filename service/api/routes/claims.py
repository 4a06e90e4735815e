"""Quotes and claims: what the tills call."""

from types import SimpleNamespace
from typing import Annotated, assert_never

from fastapi import APIRouter, Depends, Request, Response
from pydantic import TypeAdapter

from service.api.auth import MayClaim, ServiceOf, may_claim, till
from service.api.bodies import json_body, takes
from service.api.edge import JsonResponse, header
from service.api.idempotency import REPLAYED, idempotency_key
from service.api.models import QuoteAnswer, QuoteLine
from service.api.problems import (
    ProblemReason,
    documented,
    language_of,
    problem,
    reason_bodies,
)
from service.claims.claim import Claim
from service.claims.outcomes import Granted, KeyReused, Refused, Replayed
from service.core.checkout import Checkout
from service.wiring import Service

router = APIRouter(prefix="/v1", tags=["claims"])

CLAIM_JSON = TypeAdapter(Claim)
# What may follow a claim, for clients that are generated from the document.
LINKS = {
    name: {"operationId": name, "parameters": {"claim_id": "$response.body#/claim_id"}}
    for name in ("confirm_claim", "cancel_claim", "refund_claim", "invoice_claim", "read_claim")
}
CLAIM_ROUTE = SimpleNamespace(path="/v1/claims")

read_checkout = json_body(Checkout)
CheckoutBody = Annotated[Checkout, Depends(read_checkout)]
ALWAYS = ("unauthorized", "missing_scope", "ledger_unavailable")
WITH_BODY = (*ALWAYS, "malformed_request", "body_too_large", "invalid_field")


@router.post(
    "/quotes",
    response_model=QuoteAnswer,
    responses=documented(*WITH_BODY, "foreign_store", "overloaded"),
    openapi_extra=takes(Checkout),
)
async def quote(
    request: Request, service: ServiceOf, caller: MayClaim, checkout: CheckoutBody
) -> QuoteAnswer:
    """What a checkout would get now, line by line, with no effect."""
    seller = await till(service.callers.directory, caller, checkout.store_id)
    priced, objections = await service.claims.path.quote(seller, checkout)
    reasons: dict[int, list[ProblemReason]] = {}
    for body in reason_bodies(objections, language_of(request)):
        reasons.setdefault(body["line_no"], []).append(ProblemReason(**body))
    lines = [
        QuoteLine(
            line_no=line.line_no,
            category=line.category,
            eligible=line.line_no not in reasons,
            price_fen=line.price_fen,
            rate_bp=line.rate_bp,
            cap_fen=line.cap_fen,
            subsidy_fen=0 if line.line_no in reasons else line.subsidy_fen,
            payable_fen=line.price_fen if line.line_no in reasons else line.payable_fen,
            pool=line.pool,
            reasons=reasons.get(line.line_no, []),
        )
        for line in priced.lines
    ]
    return QuoteAnswer(
        policy=priced.policy,
        eligible=not reasons,
        price_fen=priced.price_fen,
        subsidy_fen=sum(line.subsidy_fen for line in lines),
        payable_fen=sum(line.payable_fen for line in lines),
        lines=lines,
    )


# FastAPI only documents this route. The edge calls it directly (`SHORTCUTS` in the app): the
# framework's own work for one request costs more than the claim.
@router.post(
    "/claims",
    status_code=201,
    response_model=Claim,
    responses={
        201: REPLAYED | {"links": LINKS},
        **documented(
            *WITH_BODY,
            "invalid_idempotency_key",
            "foreign_store",
            "claim_refused",
            "idempotency_key_reused",
            "overloaded",
            "gate_unavailable",
        ),
    },
    dependencies=[Depends(may_claim), Depends(idempotency_key)],
    openapi_extra=takes(Checkout),
)
async def create_claim(request: Request) -> Response:
    """Grant the subsidy of this sale: all lines or none, once for each Idempotency-Key. With
    `hold` it is reserved, to be confirmed or cancelled later."""
    request.scope["route"] = CLAIM_ROUTE
    service: Service = request.app.state.service
    caller = await may_claim(request, service)
    key = await idempotency_key(request, header(request, b"idempotency-key"))
    checkout = await read_checkout(request)
    seller = await till(service.callers.directory, caller, checkout.store_id)
    outcome = await service.claims.path.claim(seller, key, checkout)
    service.claims.tally.count(checkout, outcome)
    match outcome:
        case Granted(claim):
            return _claim_response(request, claim)
        case Replayed(claim):
            return _claim_response(request, claim, (b"idempotency-replayed", b"true"))
        case Refused(reasons):
            language = language_of(request)
            return problem(request, "claim_refused", reasons=reason_bodies(reasons, language))
        case KeyReused():
            return problem(request, "idempotency_key_reused")
    assert_never(outcome)


def _claim_response(request: Request, claim: Claim, *headers: tuple[bytes, bytes]) -> Response:
    claim_id = str(claim.claim_id)
    request.scope["butie.log"] = {"claim_id": claim_id}
    location = (b"location", b"/v1/claims/" + claim_id.encode())
    return JsonResponse(CLAIM_JSON.dump_json(claim), 201, (location, *headers))
