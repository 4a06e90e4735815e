"""Reconciliations: somebody else's file beside the books."""

import asyncio
import hashlib
import tempfile
from datetime import date, datetime
from typing import Annotated, Any, BinaryIO, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from uuid_utils.compat import uuid7

from service.api.auth import Refusal, ServiceOf, allowed
from service.api.problems import documented, language_of, problem
from service.api.query import each_once, only
from service.api.routes.exports import MEDIA_TYPES, Name, StoreName
from service.core.checkout import Day
from service.core.sentences import Language
from service.finance.reconcile.files import BadFile, Rows, reader_of
from service.finance.reconcile.here import Scope
from service.finance.reconcile.items import Listed, ListFormat, ListOf, list_pieces
from service.finance.reconcile.kept import Asked, Kept, Reconciliation, RunState
from service.finance.reconcile.mapping import KEYS, AmountIs, Mapping, Unit, Why, states_of
from service.finance.reconcile.run import Summary
from service.finance.reconcile.sentences import WHYS, fault_sentence
from service.retailers.directory import Caller
from service.wiring import Service

MayFinance = Annotated[Caller, Depends(allowed("finance"))]

router = APIRouter(
    prefix="/v1/reconciliations",
    tags=["finance"],
    dependencies=[Depends(allowed("finance")), Depends(each_once)],
    responses=documented("unauthorized", "missing_scope", "ledger_unavailable", "overloaded"),
)
# A million rows of the longest kind.
FILE_MAX_BYTES = 256 << 20
PIECE_BYTES = 1 << 20
BAD_ROWS_SHOWN = 20

Heading = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^\x00-\x1f]{1,64}$")]


class What(BaseModel):
    """Which entries, and which heading of the file stands for what."""

    model_config = ConfigDict(extra="forbid")

    from_on: Day = Field(alias="from", description="first booking day")
    to_on: Day = Field(alias="to", description="last booking day, included")
    retailer: Name | None = None
    store: StoreName | None = None
    claim_id: Heading | None = Field(None, description="heading of the column to match by")
    order_no: Heading | None = Field(None, description="heading of the column to match by")
    invoice_no: Heading | None = Field(None, description="heading of the column to match by")
    store_id: Heading | None = Field(None, description="heading: matched too")
    line_no: Heading | None = Field(None, description="heading: a row is a line of a claim")
    serial_no: Heading | None = Field(None, description="heading: a row is a line of a claim")
    amount: Heading = Field(description="heading of the subsidy's column")
    unit: Unit = Field("yuan", description="of that column")
    amount_is: AmountIs = Field("granted", description="net: less what was refunded")
    state: Heading | None = Field(None, description="heading of the state's column")
    states: str = Field(
        "",
        max_length=2000,
        description="what its words mean: `paid:confirmed,returned:refunded`; ours are known",
    )
    skip: int = Field(0, ge=0, le=100, description="lines before the heading")
    matched: bool = Field(False, description="list what matches, too")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.from_on > self.to_on:
            raise PydanticCustomError("days_reversed", "from is after to")
        if not self.mapping().finds:
            raise PydanticCustomError("finds_nothing", "no key")
        return self

    def mapping(self) -> Mapping:
        keys = tuple((name, getattr(self, name)) for name in KEYS if getattr(self, name))
        try:
            states = states_of(self.states)
        except ValueError:
            raise PydanticCustomError("state_words", "not word:state") from None
        return Mapping(keys, self.amount, self.unit, self.amount_is, self.state, states, self.skip)


class BadRowShown(BaseModel):
    line: int = Field(description="line of the file, with the heading")
    why: Why
    detail: str


class FaultShown(BaseModel):
    code: str
    detail: str


class ReconciliationShown(BaseModel):
    """`summary` is there when it is done; then every good row of the file is in one of its
    findings, and so is every claim (or line) that the books have in the period."""

    reconciliation_id: UUID
    state: RunState
    progress_percent: int
    retailer_id: str | None
    store_id: str | None
    from_on: date
    to_on: date
    mapping: dict[str, Any]
    file_sha256: str
    file_bytes: int
    asked_by: str
    asked_at: datetime
    ended_at: datetime | None
    summary: Summary | None
    fault: FaultShown | None = Field(description="why it failed")
    bad_rows: list[BadRowShown] = Field(description="the first of them; the list has all")


class ReconciliationsShown(BaseModel):
    reconciliations: list[ReconciliationShown]


async def _reconciliation_id(reconciliation_id: str) -> UUID:
    try:
        return UUID(reconciliation_id)
    except ValueError:
        raise Refusal("not_found") from None


ReconciliationId = Annotated[UUID, Depends(_reconciliation_id)]
FILE = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "",
    status_code=202,
    response_model=ReconciliationShown,
    responses=documented(
        "file_expected", "body_too_large", "bad_file", "invalid_field", "too_slow",
        "reconciliations_running", "malformed_request",
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "csv or xlsx; the type is read from the file itself",
            "content": {"application/octet-stream": FILE},
        }
    },
)  # fmt: skip
async def reconcile(
    request: Request,
    response: Response,
    service: ServiceOf,
    caller: MayFinance,
    query: Annotated[What, Query()],
) -> Any:
    """Compare the file in the body, csv or xlsx with at most 1,000,000 rows, with the books.

    The answer comes at once; ask for the reconciliation until it is done. Rows that cannot be
    read are told with their lines. The books stay as they are.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise Refusal("file_expected")
    place = service.settings.jurisdiction
    async with service.reports.connection() as connection:
        if await Kept(connection, place).busy():  # before the file is taken in
            raise Refusal("reconciliations_running")
    with tempfile.TemporaryFile() as file:
        digest, size = await _take_in(request, file)
        mapping = query.mapping()
        try:
            await asyncio.to_thread(_look, file, size, mapping)
        except BadFile as bad:
            return _bad_file(request, bad)
        scope = Scope(place, query.from_on, query.to_on, query.retailer, query.store)
        asked = Asked(uuid7(), scope, mapping, digest, size, caller.key_id, service.clock.now())
        shown = await _start(service, asked, file, query.matched)
    response.headers["Location"] = f"/v1/reconciliations/{asked.reconciliation_id}"
    return _shown(shown, [], language_of(request))


async def _start(
    service: Service, asked: Asked, file: BinaryIO, with_matched: bool
) -> Reconciliation:
    async with service.reports.connection() as connection:
        kept = Kept(connection, service.settings.jurisdiction)
        if not await kept.open(asked):
            raise Refusal("reconciliations_running")
        await service.reconciliations.start(asked, file, with_matched=with_matched)
        shown = await kept.read(asked.reconciliation_id)
    assert shown is not None, "Bug! A reconciliation that was just opened is gone."
    return shown


async def _take_in(request: Request, file: BinaryIO) -> tuple[bytes, int]:
    """(SHA-256, size) of the body, which is in the file then."""
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
        file.write(chunk)
        if size % PIECE_BYTES < len(chunk):
            await asyncio.sleep(0)  # a disk's buffer is fast; the tills come in between
    file.flush()
    file.seek(0)
    return digest.digest(), size


def _look(file: BinaryIO, size: int, mapping: Mapping) -> None:
    """Refuse at once what can be told from the heading of a csv. Raises BadFile."""
    rows = Rows(file, size, mapping.skip)
    if rows.kind == "csv":
        found = next(iter(rows), None)
        if found is None:
            raise BadFile("no_rows")
        reader_of(mapping, found[1])
    file.seek(0)


def _bad_file(request: Request, bad: BadFile) -> Response:
    detail = fault_sentence(bad.fault, bad.facts, language_of(request))
    fields = [{"field": "body", "detail": detail}]
    return problem(request, "bad_file", detail=f"body: {detail}", fields=fields)


@router.get("")
async def list_reconciliations(request: Request, service: ServiceOf) -> ReconciliationsShown:
    """The newest ones."""
    async with service.reports.connection() as connection:
        found = await Kept(connection, service.settings.jurisdiction).newest()
    language = language_of(request)
    return ReconciliationsShown(reconciliations=[_shown(one, [], language) for one in found])


@router.get("/{reconciliation_id}", responses=documented("not_found"))
async def read_reconciliation(
    request: Request, service: ServiceOf, reconciliation_id: ReconciliationId
) -> ReconciliationShown:
    """How far it is, and what came of it."""
    async with service.reports.connection() as connection:
        kept = Kept(connection, service.settings.jurisdiction)
        found = await kept.read(reconciliation_id)
        if found is None:
            raise Refusal("not_found")
        bad = await kept.bad_rows(reconciliation_id, BAD_ROWS_SHOWN)
    return _shown(found, bad, language_of(request))


@router.get(
    "/{reconciliation_id}/items",
    dependencies=[Depends(only("format", "finding", "names", "bom"))],
    response_class=Response,
    responses={
        200: {
            "description": "The list.",
            "content": {
                MEDIA_TYPES[kind]: {"schema": {"type": "string"}} for kind in ("csv", "ndjson")
            },
        },
        **documented("not_found", "wrong_state", "invalid_field"),
    },
)
async def list_items(
    service: ServiceOf,
    reconciliation_id: ReconciliationId,
    format_: Annotated[ListFormat, Query(alias="format")] = "csv",
    finding: Annotated[Listed | None, Query()] = None,
    names: Annotated[Literal["en", "zh"], Query(description="heading of csv")] = "en",
    bom: Annotated[bool, Query(description="csv: for Excel")] = False,
) -> Response:
    """Every difference and every bad row of a reconciliation that is done, as a file."""
    place = service.settings.jurisdiction
    async with service.reports.connection() as connection:
        found = await Kept(connection, place).read(reconciliation_id)
    if found is None:
        raise Refusal("not_found")
    if found.state != "done":
        raise Refusal("wrong_state")
    wanted = ListOf(place, reconciliation_id, format_, finding, names == "zh", bom)
    name = f"reconciliation-{reconciliation_id}.{format_}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    pieces = list_pieces(service.reports, wanted)
    return StreamingResponse(pieces, 200, headers, MEDIA_TYPES[format_])


def _shown(
    one: Reconciliation, bad_rows: list[tuple[int, Why]], language: Language
) -> ReconciliationShown:
    told = {name: getattr(one, name) for name in Reconciliation.__slots__}
    del told["fault_facts"], told["progress_bp"]
    if one.fault is not None:
        detail = fault_sentence(one.fault, one.fault_facts, language)
        told["fault"] = FaultShown(code=one.fault, detail=detail)
    bad = [BadRowShown(line=at, why=why, detail=WHYS[why][language]) for at, why in bad_rows]
    return ReconciliationShown(**told, progress_percent=one.progress_bp // 100, bad_rows=bad)
