"""Reconciliations: compare a file of a retailer or a payment platform with the ledger."""

import asyncio
import hashlib
import io
import tempfile
from datetime import date, datetime
from typing import Annotated, Any, BinaryIO, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import (
    BaseModel,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from uuid_utils.compat import uuid7

from service.api.auth import MayFinance, Refusal, ServiceOf, may_finance
from service.api.bounds import Bound
from service.api.gzip_body import BrokenGzip, decoded
from service.api.ids import path_uuid
from service.api.problems import documented, language_of, problem
from service.api.query import Entries, each_once, only
from service.api.routes.exports import MEDIA_TYPES
from service.core.sentences import Language
from service.finance.files.faults import BadFile
from service.finance.files.open import is_packed, opened_table
from service.finance.files.profiles.profile import ProfileName
from service.finance.reconcile.items import ItemFinding, ItemList, ListFormat, list_pieces
from service.finance.reconcile.ledger_units import ReconcileScope
from service.finance.reconcile.mapping import (
    MATCH_KEYS,
    AmountIs,
    AmountUnit,
    BadRowReason,
    ColumnMapping,
    read_head,
    states_of,
)
from service.finance.reconcile.profile_pairs import profile_mapping, profile_use
from service.finance.reconcile.reconciliations import (
    ReconcileRequest,
    Reconciliation,
    Reconciliations,
    RunState,
)
from service.finance.reconcile.run import ReconcileSummary
from service.finance.reconcile.sentences import BAD_ROW_SENTENCES, fault_sentence
from service.finance.reconcile.signs import RowsAre
from service.wiring import Service

router = APIRouter(
    prefix="/v1/reconciliations",
    tags=["finance"],
    dependencies=[Depends(may_finance), Depends(each_once)],
    responses=documented(
        "unauthorized", "missing_scope", "invalid_field", "ledger_unavailable", "overloaded"
    ),
)
# A million rows of the longest kind, over an office's line.
FILE_BOUND = Bound(256 << 20, body_s=600.0, takes_gzip=True)
PIECE_BYTES = 1 << 20
BAD_ROWS_SHOWN = 20
# What a profile knows itself.
OF_THE_FRAME = frozenset({"skip", "skip_end", "unit", "refund"})

SheetName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,100}$")]
Heading = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^\x00-\x1f]{1,64}$")]


class ReconcileQuery(Entries):
    """The period, and the meaning of the file's headings."""

    claim_id: Heading | None = Field(None, description="heading of the column to match by")
    order_no: Heading | None = Field(None, description="heading of the column to match by")
    invoice_no: Heading | None = Field(None, description="heading of the column to match by")
    store_id: Heading | None = Field(None, description="heading: matched too")
    line_no: Heading | None = Field(None, description="heading: a row is a line of a claim")
    serial_no: Heading | None = Field(None, description="heading: a row is a line of a claim")
    profile: ProfileName | None = Field(
        None, description="the platform whose file it is, as downloaded: it knows the headings"
    )
    amount: Heading | None = Field(
        None,
        validate_default=True,
        description="heading of the subsidy's column; without a profile it is required",
    )
    unit: AmountUnit = Field("yuan", description="of that column")
    amount_is: AmountIs = Field(
        "granted", description="net: less what was refunded; price: before the subsidy"
    )
    state: Heading | None = Field(None, description="heading of the state's column")
    states: str = Field(
        "",
        max_length=2000,
        description="what its words mean: `paid:confirmed,returned:refunded`; ours are known",
    )
    rows: RowsAre = Field(
        "sales",
        description="movements: a row is a payment or a refund, paired with entries of the period",
    )
    refund: Heading | None = Field(None, description="movements: heading of the refunds' amounts")
    skip: int = Field(0, ge=0, le=100, description="lines before the heading")
    skip_end: int = Field(0, ge=0, le=100, description="rows of totals at the end")
    sheet: SheetName | None = Field(None, description="xlsx: the sheet, if several have rows")
    matched: bool = Field(False, description="list what matches, too")

    @field_validator("amount")
    @classmethod
    def _needed(cls, amount: str | None, info: ValidationInfo) -> str | None:
        if amount is None and info.data.get("profile", "one that is refused") is None:
            raise PydanticCustomError("missing", "no amount column")
        return amount

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.profile is not None and OF_THE_FRAME & self.model_fields_set:
            raise PydanticCustomError("profile_frame", "a profile has its own frame")
        if not self.mapping().identifies:
            raise PydanticCustomError("finds_nothing", "no key")
        if self.states and self.state is None:
            raise PydanticCustomError("states_without_state", "no state column")
        if self.refund and self.rows == "sales":
            raise PydanticCustomError("refund_of_sales", "a refund column, and rows are sales")
        if self.rows == "movements" and self.mapping().amount_is != "granted":
            raise PydanticCustomError("net_movements", "movements are not net")
        return self

    def mapping(self) -> ColumnMapping:
        keys = tuple((name, getattr(self, name)) for name in MATCH_KEYS if getattr(self, name))
        try:
            states = states_of(self.states)
        except ValueError:
            raise PydanticCustomError("state_words", "not word:state") from None
        if self.profile is not None:
            amount_is = self.amount_is if "amount_is" in self.model_fields_set else None
            return profile_mapping(
                self.profile, keys, self.amount, amount_is, self.state, states, self.sheet,
                self.rows,
            )  # fmt: skip
        assert self.amount is not None, "Bug! `_needed` has seen to it."
        return ColumnMapping(
            keys, self.amount, self.unit, self.amount_is, self.state, states, self.skip, self.sheet,
            self.skip_end, rows=self.rows, refund=self.refund,
        )  # fmt: skip


class BadRowResponse(BaseModel):
    line: int = Field(description="line of the file, with the heading")
    why: BadRowReason
    detail: str


class FaultResponse(BaseModel):
    code: str
    detail: str


class ReconciliationResponse(BaseModel):
    """`summary` is set when the run is done. Then every readable row of the file is in one of its
    findings, and so is every claim (or line) that was booked in the period; with rows=movements,
    every row that moved money, and every payment and refund that was booked in it. `rows_in_file`
    is the file's own count of its rows, and `rows_accounted` says the same: if not, the run fails.
    """

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
    summary: ReconcileSummary | None
    fault: FaultResponse | None = Field(description="why it failed")
    bad_rows: list[BadRowResponse] = Field(description="the first of them; `/items` has all")


class ReconciliationListResponse(BaseModel):
    reconciliations: list[ReconciliationResponse]


ReconciliationId = Annotated[UUID, path_uuid("reconciliation_id")]
# A heading is in the first lines. This process does not read a line of hundreds of megabytes.
HEAD_BYTES = 1 << 20
CUT_FAULTS = {
    "no_rows", "open_quote", "bad_character", "unreadable", "record_cut", "record_shifted",
    "no_totals",
}  # fmt: skip
FILE = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "",
    status_code=202,
    response_model=ReconciliationResponse,
    responses=documented(
        "file_expected", "body_too_large", "bad_file", "invalid_field", "too_slow",
        "reconciliations_running", "malformed_request",
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "csv or xlsx, or a zip or gz of one: the file itself says which. "
            "With a profile the platform's file as it was downloaded",
            "content": {"application/octet-stream": FILE},
        }
    },
)  # fmt: skip
async def reconcile(
    request: Request,
    response: Response,
    service: ServiceOf,
    caller: MayFinance,
    query: Annotated[ReconcileQuery, Query()],
) -> Any:
    """Compare the file in the body with the ledger: csv or xlsx, at most 1,000,000 rows. With
    `profile` it is a platform's file as it was downloaded.

    The answer comes at once. Read the reconciliation until its state is `done` or `failed`. It
    names the lines of the rows that cannot be read. The ledger does not change.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise Refusal("file_expected")
    jurisdiction = service.settings.jurisdiction
    async with service.reports.connection() as connection:
        if await Reconciliations(connection, jurisdiction).busy():  # before the upload
            raise Refusal("reconciliations_running")
    with tempfile.TemporaryFile() as file:
        mapping = query.mapping()
        try:
            digest, size = await _receive(request, file)
            await asyncio.to_thread(_check_heading, file, mapping, query.to_on)
        except BrokenGzip:
            return _bad_file(request, BadFile("broken_gzip"))
        except BadFile as bad:
            return _bad_file(request, bad)
        scope = ReconcileScope(
            jurisdiction, query.from_on, query.to_on, query.retailer, query.store
        )
        run = ReconcileRequest(
            uuid7(), scope, mapping, digest, size, caller.key_id, service.clock.now()
        )
        reconciliation = await _start(service, run, file, query.matched)
    response.headers["Location"] = f"/v1/reconciliations/{run.reconciliation_id}"
    return _response(reconciliation, [], language_of(request))


async def _start(
    service: Service, run: ReconcileRequest, file: BinaryIO, with_matched: bool
) -> Reconciliation:
    async with service.reports.connection() as connection:
        reconciliations = Reconciliations(connection, service.settings.jurisdiction)
        if not await reconciliations.open(run):
            raise Refusal("reconciliations_running")
        await service.finance.reconciliations.start(run, file, with_matched=with_matched)
        reconciliation = await reconciliations.read(run.reconciliation_id)
    assert reconciliation is not None, "Bug! A reconciliation just opened is gone."
    return reconciliation


async def _receive(request: Request, file: BinaryIO) -> tuple[bytes, int]:
    """Write the body to the file, decompressed. Returns its SHA-256 and its size in bytes. Raises
    BrokenGzip or BodyTooLarge."""
    digest, size = hashlib.sha256(), 0
    async for chunk in decoded(request, FILE_BOUND.body_max_bytes):
        digest.update(chunk)
        size += len(chunk)
        file.write(chunk)
        if size % PIECE_BYTES < len(chunk):
            await asyncio.sleep(0)  # writing never waits: let claims run in between
    file.flush()
    file.seek(0)
    return digest.digest(), size


def _check_heading(file: BinaryIO, mapping: ColumnMapping, until: date) -> None:
    """Check the heading of a csv, so that a wrong one is refused at once. Raises BadFile."""
    if not is_packed(file):
        head = io.BytesIO(file.read(HEAD_BYTES))
        try:
            with opened_table(head, mapping.sheet, profile_use(mapping, until)) as table:
                read_head(iter(table), mapping)
        except BadFile as bad:
            # Where the head is cut, its last line may look broken: the run will find out.
            if bad.fault not in CUT_FAULTS or head.getbuffer().nbytes < HEAD_BYTES:
                raise
    file.seek(0)


def _bad_file(request: Request, bad: BadFile) -> Response:
    detail = fault_sentence(bad.fault, bad.facts, language_of(request))
    fields = [{"field": "body", "detail": detail}]
    return problem(request, "bad_file", detail=f"body: {detail}", fields=fields)


@router.get("")
async def list_reconciliations(request: Request, service: ServiceOf) -> ReconciliationListResponse:
    """The newest reconciliations, at most 200."""
    async with service.reports.connection() as connection:
        newest = await Reconciliations(connection, service.settings.jurisdiction).newest()
    language = language_of(request)
    return ReconciliationListResponse(
        reconciliations=[_response(reconciliation, [], language) for reconciliation in newest]
    )


@router.get("/{reconciliation_id}", responses=documented("not_found"))
async def read_reconciliation(
    request: Request, service: ServiceOf, reconciliation_id: ReconciliationId
) -> ReconciliationResponse:
    """The progress and the result of a reconciliation."""
    async with service.reports.connection() as connection:
        reconciliations = Reconciliations(connection, service.settings.jurisdiction)
        reconciliation = await reconciliations.read(reconciliation_id)
        if reconciliation is None:
            raise Refusal("not_found")
        bad_rows = await reconciliations.bad_rows(reconciliation_id, BAD_ROWS_SHOWN)
    return _response(reconciliation, bad_rows, language_of(request))


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
    finding: Annotated[ItemFinding | None, Query()] = None,
    names: Annotated[Literal["en", "zh"], Query(description="heading of csv")] = "en",
    bom: Annotated[bool, Query(description="csv: for Excel")] = False,
) -> Response:
    """Every difference and every bad row of a reconciliation that is done, as a file."""
    jurisdiction = service.settings.jurisdiction
    async with service.reports.connection() as connection:
        reconciliation = await Reconciliations(connection, jurisdiction).read(reconciliation_id)
    if reconciliation is None:
        raise Refusal("not_found")
    if reconciliation.state != "done":
        raise Refusal("wrong_state")
    rows: RowsAre = reconciliation.mapping.get("rows", "sales")  # 0.1.0 has no other
    item_list = ItemList(
        jurisdiction, reconciliation_id, format_, finding, names == "zh", bom, rows
    )
    name = f"reconciliation-{reconciliation_id}.{format_}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    pieces = list_pieces(service.reports, item_list)
    return StreamingResponse(pieces, 200, headers, MEDIA_TYPES[format_])


def _response(
    reconciliation: Reconciliation, bad_rows: list[tuple[int, BadRowReason]], language: Language
) -> ReconciliationResponse:
    fields = {name: getattr(reconciliation, name) for name in Reconciliation.__slots__}
    facts, progress_bp = fields.pop("fault_facts"), fields.pop("progress_bp")
    if reconciliation.fault is not None:
        detail = fault_sentence(reconciliation.fault, facts, language)
        fields["fault"] = FaultResponse(code=reconciliation.fault, detail=detail)
    bad = [
        BadRowResponse(line=line, why=why, detail=BAD_ROW_SENTENCES[why].in_language(language))
        for line, why in bad_rows
    ]
    return ReconciliationResponse(**fields, progress_percent=progress_bp // 100, bad_rows=bad)
