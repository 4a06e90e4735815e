"""The invoices of a claim: filed as JSON or as the e-invoice's own file, and listed."""

import hashlib
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Annotated, Any, Self, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from service.api.auth import MayClaim, Refusal, ServiceOf, own_retailer
from service.api.bodies import json_body, takes
from service.api.bounds import Bound
from service.api.edge import BodyTooLarge
from service.api.ids import ClaimId
from service.api.invalid import invalid_field
from service.api.models import LineNumbers
from service.api.problems import documented, language_of, problem
from service.api.query import only
from service.api.wrong_state import LINES_INVOICED, wrong_state
from service.claims.invoicing import (
    Invoice,
    InvoiceFault,
    LinesInvoiced,
    WrongState,
    WrongTotal,
    current,
    red_letter_missing_fen,
    uninvoiced_lines,
)
from service.claims.ledger.invoice import InvoiceSettled, InvoiceTaken, Recorded
from service.claims.lifecycle import NoSuchClaim
from service.core.calendar import business_day
from service.core.checkout import ITEMS_MAX, PRICE_MAX_FEN, Day, Strict, Text
from service.core.money import yuan
from service.core.sentences import Sentence
from service.invoices.faults import UnreadableInvoice
from service.invoices.file import SIZE_MAX_BYTES, InvoiceFile
from service.invoices.paper import folded, is_company, number_fault
from service.invoices.read import MEDIA_TYPES
from service.retailers.directory import Caller
from service.wiring import Service

router = APIRouter(prefix="/v1/claims/{claim_id}", tags=["claims"])

FILE_BOUND = Bound(SIZE_MAX_BYTES)
TOTAL_MAX_FEN = PRICE_MAX_FEN * ITEMS_MAX


def _number(text: str) -> str:
    number = folded(text)
    if not number:
        raise PydanticCustomError("missing", "blanks alone")
    return number


Number = Annotated[
    str,
    StringConstraints(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
    AfterValidator(_number),
]
OptionalNumber = Annotated[Number | None, BeforeValidator(lambda text: _blank_is_none(text))]
# What tills may take for an invoice's file.
NO_INVOICE_TYPES = {
    "application/octet-stream", "application/pdf", "application/zip", "image/jpeg", "image/png",
}  # fmt: skip
FILE_TYPES = Sentence(
    "发票文件只接受 XML（Content-Type: application/xml）和 OFD（application/ofd）；"
    "其他请按 JSON 填报。",
    "An invoice's file may be XML (Content-Type: application/xml) or OFD (application/ofd): send "
    "one of them, or the facts as JSON.",
)


def _blank_is_none(text: object) -> object:
    return None if isinstance(text, str) and not folded(text) else text


class InvoiceBody(Strict):
    """An invoice as issued. `total_fen` includes tax: what the customer paid plus the subsidy.
    Blanks and case in numbers do not count. `lines`: those of the claim that the invoice has, all
    of them when absent. A red-letter invoice has a negative total and `red_letter_of`."""

    number: Number = Field(description="20 digits; or 8, with a `code`")
    code: OptionalNumber = Field(None, description="10 or 12 digits; a 20-digit number has none")
    date: Day
    buyer: Text = Field(repr=False)
    total_fen: int = Field(ge=-TOTAL_MAX_FEN, le=TOTAL_MAX_FEN)
    lines: LineNumbers | None = None
    red_letter_of: OptionalNumber = Field(None, description="the number that it takes back")


@dataclass(frozen=True, slots=True)
class InvoiceRecord:
    """An invoice on record. `lines` is null for the whole sale's. `file_sha256` is that of the
    e-invoice's file, in hexadecimal, if it was filed as one. `replaced_at`: when a corrected
    invoice replaced it."""

    number: str
    code: str | None
    date: date
    buyer: str
    total_fen: int
    lines: tuple[int, ...] | None
    red_letter_of: str | None
    file_sha256: str | None
    replaced_at: datetime | None = None

    @classmethod
    def of(cls, invoice: Invoice, replaced_at: datetime | None = None) -> Self:
        return cls(
            number=invoice.number,
            code=invoice.code or None,
            date=invoice.dated_on,
            buyer=invoice.buyer,
            total_fen=invoice.total_fen,
            lines=invoice.lines or None,
            red_letter_of=invoice.red_letter_of or None,
            file_sha256=invoice.file_sha256.hex() if invoice.file_sha256 else None,
            replaced_at=replaced_at,
        )


class ClaimInvoices(BaseModel):
    """Every invoice that was filed for a claim, the earliest first. `uninvoiced_lines` are its
    confirmed lines without an invoice. `red_letter_missing_fen` is the price of what came back and
    is still in an invoice, without a red-letter invoice of its own."""

    invoices: list[InvoiceRecord]
    uninvoiced_lines: list[int]
    red_letter_missing_fen: int


FILE = {"schema": {"type": "string", "format": "binary"}}
BODY = takes(InvoiceBody)
BODY["requestBody"]["content"].update(dict.fromkeys(MEDIA_TYPES, FILE))


@router.put(
    "/invoice",
    operation_id="invoice_claim",
    response_model=InvoiceRecord,
    responses=documented(
        "unauthorized", "missing_scope", "ledger_unavailable", "overloaded", "not_found",
        "wrong_state", "malformed_request", "body_too_large", "invalid_field", "bad_file",
        "invoice_total_differs", "invoice_taken",
    ),
    openapi_extra=BODY,
)  # fmt: skip
async def invoice_claim(
    request: Request,
    service: ServiceOf,
    caller: MayClaim,
    claim_id: ClaimId,
    lines: Annotated[
        str | None,
        Query(pattern=r"^[0-9]{1,3}(,[0-9]{1,3}){0,19}$", description="with a file, such as 1,2"),
    ] = None,
    red_letter_of: Annotated[
        Number | None, Query(description="with a file that does not say it itself")
    ] = None,
    _: Annotated[None, Depends(only("lines", "red_letter_of"))] = None,
) -> Any:
    """File an invoice of the claim, which a settlement needs: as JSON, or the e-invoice itself as
    XML or OFD. A corrected invoice replaces the former one of the same lines, until a settlement
    has it."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in MEDIA_TYPES:
        own = own_retailer(caller)
        if await service.claims.lifecycle.claim(own, claim_id) is None:
            raise Refusal("not_found")
        try:
            file = await service.invoice_reader.read(own, await request.body(), media_type)
        except UnreadableInvoice as unreadable:
            return _bad_file(request, unreadable)
        given = [int(line) for line in lines.split(",")] if lines else []
        if len(set(given)) != len(given):
            return invalid_field(request, "lines", "duplicate_line_no")
        if file.red_letter_of and red_letter_of not in (None, file.red_letter_of):
            return invalid_field(request, "red_letter_of", "red_letter_of_differs")
        if is_company(file.buyer_id):
            return invalid_field(request, "buyer", "company_buyer")
        digest = hashlib.sha256(await request.body()).digest()
        invoice = _from_file(file, tuple(given), red_letter_of or "", digest)
        seller_id = file.seller_id
    else:
        if lines or red_letter_of:
            return invalid_field(request, "lines" if lines else "red_letter_of", "in_the_body")
        if media_type in NO_INVOICE_TYPES:
            raise Refusal("malformed_request", FILE_TYPES)
        if len(await request.body()) > service.settings.body_max_bytes:
            raise BodyTooLarge
        invoice = _from_body(await json_body(InvoiceBody)(request))
        seller_id = ""
    if fault := _fault(invoice, business_day(service.clock.now())):
        # Release 0.1.0 took other numbers. A repeat of one is harmless.
        if fault[0] == "number" and await _is_on_record(service, caller, claim_id, invoice):
            return InvoiceRecord.of(invoice)
        return invalid_field(request, *fault)
    outcome = await service.claims.lifecycle.invoice(
        own_retailer(caller), claim_id, invoice, seller_id=seller_id
    )
    return _answer(request, outcome)


@router.get(
    "/invoices",
    operation_id="list_invoices",
    responses=documented(
        "unauthorized", "missing_scope", "ledger_unavailable", "overloaded", "not_found"
    ),
)
async def list_invoices(service: ServiceOf, caller: MayClaim, claim_id: ClaimId) -> ClaimInvoices:
    """Every invoice that was filed for one of your own claims, and what is still missing."""
    outcome = await service.claims.lifecycle.invoices(own_retailer(caller), claim_id)
    if isinstance(outcome, NoSuchClaim):
        raise Refusal("not_found")
    return ClaimInvoices(
        invoices=[InvoiceRecord.of(paper.invoice, paper.replaced_at) for paper in outcome.papers],
        uninvoiced_lines=list(uninvoiced_lines(outcome.claim, outcome.papers)),
        red_letter_missing_fen=red_letter_missing_fen(outcome.claim, outcome.papers),
    )


async def _is_on_record(service: Service, caller: Caller, claim_id: UUID, invoice: Invoice) -> bool:
    outcome = await service.claims.lifecycle.invoices(own_retailer(caller), claim_id)
    if isinstance(outcome, NoSuchClaim):
        raise Refusal("not_found")
    former = replace(
        invoice.of(outcome.claim),
        number=invoice.number.replace("-", ""),
        code=invoice.code.replace("-", ""),
    )
    return former in current(outcome.papers)


def _from_body(body: InvoiceBody) -> Invoice:
    return Invoice(
        number=body.number,
        code=body.code or "",
        dated_on=body.date,
        buyer=body.buyer,
        total_fen=body.total_fen,
        lines=body.lines or (),
        red_letter_of=body.red_letter_of or "",
    )


def _from_file(
    file: InvoiceFile, lines: tuple[int, ...], red_letter_of: str, digest: bytes
) -> Invoice:
    return Invoice(
        number=file.number,
        code=file.code,
        dated_on=file.dated_on,
        buyer=file.buyer,
        total_fen=file.total_fen,
        lines=lines,
        red_letter_of=file.red_letter_of or red_letter_of,
        file_sha256=digest,
    )


def _fault(invoice: Invoice, today: date) -> tuple[str, str] | None:
    """(field, fault) of what is wrong with the invoice alone."""
    if invoice.dated_on.year < 2000 or invoice.dated_on > today:
        return "date", "invoice_date"
    if fault := number_fault(invoice.number, invoice.code, invoice.dated_on.year):
        return "code" if "code" in fault else "number", fault
    if invoice.red_letter_of:
        if invoice.total_fen >= 0:
            return "total_fen", "red_letter_sign"
        if invoice.lines:
            return "lines", "red_letter_lines"
    elif invoice.total_fen < 0:
        return "red_letter_of", "red_letter_of_missing"
    elif invoice.total_fen == 0:
        return "total_fen", "not_equal"
    return None


def _answer(request: Request, outcome: Recorded | NoSuchClaim) -> Any:
    match outcome:
        case Invoice():
            return InvoiceRecord.of(outcome)
        case InvoiceTaken():
            return problem(request, "invoice_taken")
        case InvoiceSettled():
            detail = wrong_state("invoice", "confirmed", language_of(request))
            return problem(request, "wrong_state", detail=detail)
        case LinesInvoiced(number, lines):
            facts = {"number": number, "lines": ", ".join(map(str, lines))}
            detail = LINES_INVOICED.in_language(language_of(request)).format(**facts)
            return problem(request, "wrong_state", detail=detail)
        case WrongTotal():
            return _wrong_total(request, outcome)
        case InvoiceFault(field, fault, facts):
            return invalid_field(request, field, fault, facts)
        case WrongState():
            detail = wrong_state("invoice", outcome.claim.state, language_of(request))
            return problem(request, "wrong_state", detail=detail)
        case NoSuchClaim():
            raise Refusal("not_found")
    assert_never(outcome)


def _wrong_total(request: Request, error: WrongTotal) -> Response:
    sums = {
        "total": yuan(error.total_fen),
        "due": yuan(error.paid_fen + error.subsidy_fen),
        "paid": yuan(error.paid_fen),
        "subsidy": yuan(error.subsidy_fen),
    }
    return problem(
        request,
        "invoice_total_differs",
        facts=sums,
        total_fen=error.total_fen,
        expected_fen=error.paid_fen + error.subsidy_fen,
    )


def _bad_file(request: Request, unreadable: UnreadableInvoice) -> Response:
    detail = unreadable.why(language_of(request))
    fields = [{"field": "body", "detail": detail}]
    return problem(request, "bad_file", detail=f"body: {detail}", fields=fields)
