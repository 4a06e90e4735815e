"""Finds claims: by key, by id, and in lists."""

import re
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from service.api.auth import MayClaim, Refusal, ServiceOf, own_retailer
from service.api.idempotency import KEY_PATTERN
from service.api.ids import ClaimId
from service.api.models import ClaimPage, InFlight
from service.api.problems import documented
from service.api.query import End, Start, only
from service.claims.claim import Claim
from service.claims.ledger.finding import PAGE_MAX, ClaimFilter, find_claims
from service.claims.outcomes import GateAway
from service.core.identifiers import SERIAL_LENGTH_MAX, SERIAL_PATTERN
from service.db.engine import driver

router = APIRouter(prefix="/v1/claims", tags=["claims"])

ALWAYS = ("unauthorized", "missing_scope", "ledger_unavailable", "overloaded")

FILTERS = ("order_no", "serial_no", "state", "from", "to", "cursor", "limit")

PLAIN = r"^[^\x00-\x1f\x7f-\x9f]{1,120}$"


@router.get(
    "/by-key/{idempotency_key:path}",
    response_model=Claim | InFlight,
    responses=documented(*ALWAYS, "not_found"),
)
async def read_claim_by_key(service: ServiceOf, caller: MayClaim, idempotency_key: str) -> Any:
    """The outcome of a request whose answer was lost: the claim's present state, or
    `{"state": "in_flight"}` while it is decided, or 404 when the ledger knows of none. The
    ledger answers, so this is right while Redis is away too."""
    retailer_id = own_retailer(caller)
    if not re.fullmatch(KEY_PATTERN, idempotency_key):
        raise Refusal("not_found")
    # Before the ledger: a claim that is decided in between is in the ledger by then.
    in_flight = service.claims.path.under_way(retailer_id, idempotency_key)
    if not in_flight:
        try:
            in_flight = await service.claims.gate.in_flight(retailer_id, idempotency_key)
        except GateAway:
            pass  # the ledger has every granted claim; one under way in another worker is missed
    claim = await service.claims.path.claim_of_key(retailer_id, idempotency_key)
    if claim is not None:
        return claim
    if in_flight:
        return JSONResponse({"state": "in_flight"}, headers={"Retry-After": "1"})
    raise Refusal("not_found")


@router.get(
    "/{claim_id}",
    operation_id="read_claim",
    response_model=Claim,
    responses=documented(*ALWAYS, "not_found"),
)
async def read_claim(service: ServiceOf, caller: MayClaim, claim_id: ClaimId) -> Claim:
    """One of your own claims, in its present state."""
    claim = await service.claims.lifecycle.claim(own_retailer(caller), claim_id)
    if claim is None:
        raise Refusal("not_found")
    return claim


@router.get("", response_model=ClaimPage, responses=documented(*ALWAYS, "invalid_field"))
async def list_claims(
    service: ServiceOf,
    caller: MayClaim,
    order_no: Annotated[str | None, Query(pattern=PLAIN)] = None,
    serial_no: Annotated[
        str | None,
        Query(
            pattern=SERIAL_PATTERN,
            max_length=SERIAL_LENGTH_MAX,
            description="or an IMEI; hyphens, blanks and case do not matter",
        ),
    ] = None,
    state: Literal["reserved", "confirmed", "cancelled", "expired"] | None = None,
    from_: Annotated[
        Start | None, Query(alias="from", description="made from this day or instant on")
    ] = None,
    to: Annotated[
        End | None, Query(description="made up to the end of this day, or before this instant")
    ] = None,
    cursor: Annotated[UUID | None, Query(description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
    _: Annotated[None, Depends(only(*FILTERS))] = None,
) -> ClaimPage:
    """Your own claims, newest first."""
    if from_ is not None and to is not None and from_ >= to:
        raise RequestValidationError([{"type": "days_reversed", "loc": ("query",)}])
    filters = ClaimFilter(
        order_no=order_no,
        serial_no=serial_no,
        state=state,
        from_at=from_,
        until_at=to,
    )
    async with driver(service.engine) as connection:
        page = await find_claims(
            connection,
            service.settings.jurisdiction,
            own_retailer(caller),
            filters,
            before=cursor,
            limit=limit,
        )
    return ClaimPage(page.claims, page.next_before)
