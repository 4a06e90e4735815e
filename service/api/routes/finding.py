"""Finds claims. A retailer finds its own, by key, by id and in lists. The bureau's desk finds those
of every retailer, by one mark."""

import re
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter

from service.api.act_context import act_context
from service.api.auth import (
    MayClaim,
    MayFindClaims,
    MayFindPersons,
    Refusal,
    ServiceOf,
    own_retailer,
)
from service.api.bodies import json_body, takes
from service.api.idempotency import KEY_PATTERN
from service.api.ids import ClaimId
from service.api.models import ClaimPage, InFlight
from service.api.problems import documented
from service.api.query import ClaimNo, End, Name, Start, only
from service.claims.claim import Claim
from service.claims.ledger.desk import DeskPage, find_at_desk
from service.claims.ledger.finding import PAGE_MAX, ClaimFilter, find_claims
from service.claims.outcomes import GateAway
from service.core.checkout import Consumer
from service.core.identifiers import SERIAL_LENGTH_MAX, SERIAL_PATTERN
from service.db.engine import driver
from service.wiring import Service

PERSON_FOUND = "person.search"  # in the record of acts

router = APIRouter(prefix="/v1/claims", tags=["claims"])

ALWAYS = ("unauthorized", "missing_scope", "ledger_unavailable", "overloaded")

# The desk finds by exactly one of these: a person asks about one sale, and each has an index.
MARKS = ("claim_id", "order_no", "invoice_no", "serial_no")
FILTERS = (
    *MARKS, "retailer", "state", "invoiced", "red_letter_missing", "from", "to", "cursor", "limit",
)  # fmt: skip

PLAIN = r"^[^\x00-\x1f\x7f-\x9f]{1,120}$"

PAGE_JSON: TypeAdapter[ClaimPage | DeskPage] = TypeAdapter(ClaimPage | DeskPage)


Cursor = Annotated[UUID | None, Query(description="`next_cursor` of the page before")]
PageLimit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


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


@router.get("", response_model=ClaimPage | DeskPage, responses=documented(*ALWAYS, "invalid_field"))
async def list_claims(
    service: ServiceOf,
    caller: MayFindClaims,
    claim_id: Annotated[ClaimNo | None, Query()] = None,
    order_no: Annotated[str | None, Query(pattern=PLAIN)] = None,
    invoice_no: Annotated[str | None, Query(pattern=PLAIN)] = None,
    serial_no: Annotated[
        str | None,
        Query(
            pattern=SERIAL_PATTERN,
            max_length=SERIAL_LENGTH_MAX,
            description="or an IMEI; hyphens, blanks and case do not matter",
        ),
    ] = None,
    retailer: Annotated[Name | None, Query(description="claims of this retailer only")] = None,
    state: Literal["reserved", "confirmed", "cancelled", "expired"] | None = None,
    invoiced: Annotated[
        bool | None, Query(description="false: a line that was kept is in no invoice")
    ] = None,
    red_letter_missing: Annotated[
        Literal["true"] | None,
        Query(description="what came back is still in an invoice, without a red-letter invoice"),
    ] = None,
    from_: Annotated[
        Start | None, Query(alias="from", description="made from this day or instant on")
    ] = None,
    to: Annotated[
        End | None, Query(description="made up to the end of this day, or before this instant")
    ] = None,
    cursor: Cursor = None,
    limit: PageLimit = 50,
    _: Annotated[None, Depends(only(*FILTERS))] = None,
) -> Response:
    """With the scope `claims` your own claims, newest first. With `claims:read` those of every
    retailer, found by exactly one of `claim_id`, `order_no`, `invoice_no` and `serial_no`, with the
    retailer and each line's invoice; or those of one `retailer` by `invoiced` or
    `red_letter_missing`. No answer names the buyer."""
    if from_ is not None and to is not None and from_ >= to:
        raise RequestValidationError([{"type": "days_reversed", "loc": ("query",)}])
    filters = ClaimFilter(
        claim_id=claim_id,
        order_no=order_no,
        invoice_no=invoice_no,
        serial_no=serial_no,
        state=state,
        invoiced=invoiced,
        red_letter_missing=red_letter_missing is not None,
        from_at=from_,
        until_at=to,
    )
    page: ClaimPage | DeskPage
    if "claims" in caller.scopes:
        page = await _own_page(service, own_retailer(caller), retailer, filters, cursor, limit)
    elif [claim_id, order_no, invoice_no, serial_no].count(None) == len(MARKS) - 1 or (
        retailer is not None and (invoiced is not None or red_letter_missing is not None)
    ):
        page = await _desk_page(service, retailer, filters, cursor, limit)
    else:
        raise RequestValidationError([{"type": "one_mark", "loc": ("query",)}])
    return Response(PAGE_JSON.dump_json(page), media_type="application/json")


class PersonBody(Consumer):
    """Whose claims to find, by the document. It is digested here, and written nowhere."""


@router.post(
    "/search",
    operation_id="search_claims",
    dependencies=[Depends(only("cursor", "limit"))],
    response_model=DeskPage,
    responses=documented(*ALWAYS, "malformed_request", "body_too_large", "invalid_field"),
    openapi_extra=takes(PersonBody),
)
async def search_claims(
    service: ServiceOf,
    caller: MayFindPersons,
    body: Annotated[PersonBody, Depends(json_body(PersonBody))],
    cursor: Cursor = None,
    limit: PageLimit = 50,
) -> Response:
    """A person's claims at every retailer, newest first: who said "my right was used" learns where.
    Each search goes into the record of acts: the key, the kind of document and how many claims
    were found, nothing that leads back to the person."""
    filters = ClaimFilter(consumer_digests=service.claims.digester.every_person(body))
    page = await _desk_page(service, None, filters, cursor, limit)
    # Before the answer: what is not on record was not shown.
    async with act_context(service, caller) as context:
        shown = {"claims": len(page.claims), "more": page.next_cursor is not None}
        await context.record(PERSON_FOUND, "person", body.id_type, after=shown)
    return Response(PAGE_JSON.dump_json(page), media_type="application/json")


async def _own_page(
    service: Service,
    own: str,
    retailer: str | None,
    filters: ClaimFilter,
    cursor: UUID | None,
    limit: int,
) -> ClaimPage:
    if retailer not in (None, own):
        return ClaimPage([], None)  # another's claims look as if there were none
    jurisdiction = service.settings.jurisdiction
    async with driver(service.engine) as connection:
        page = await find_claims(connection, jurisdiction, own, filters, before=cursor, limit=limit)
    return ClaimPage(page.claims, page.next_before)


async def _desk_page(
    service: Service, retailer: str | None, filters: ClaimFilter, cursor: UUID | None, limit: int
) -> DeskPage:
    jurisdiction = service.settings.jurisdiction
    async with driver(service.engine) as connection:
        return await find_at_desk(
            connection, jurisdiction, retailer, filters, before=cursor, limit=limit
        )
