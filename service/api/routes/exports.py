"""The journal for finance: the entries as a file, and their control totals."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service import metrics
from service.api.auth import ServiceOf, may_finance
from service.api.problems import documented
from service.api.query import Entries, Name, each_once
from service.db.engine import LedgerAway
from service.db.reports import ReportsBusy
from service.finance.journal.columns import described
from service.finance.journal.download import Compression, Download
from service.finance.journal.export import Format, Layout
from service.finance.journal.selection import ENTRY_NO_MAX, BookersHang, EntryKind, Selection
from service.finance.journal.snapshot import StandbyBehind
from service.finance.journal.totals import Totals, TotalsBy, read_totals

router = APIRouter(
    prefix="/v1/exports/journal",
    tags=["finance"],
    dependencies=[Depends(may_finance), Depends(each_once)],
    responses=documented(
        "unauthorized",
        "missing_scope",
        "invalid_field",
        "ledger_unavailable",
        "overloaded",
        "standby_behind",
    ),
)

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

EntryNo = Annotated[int, Field(ge=0, le=ENTRY_NO_MAX)]


class Filters(Entries):
    """Which entries of the journal."""

    pool: Name | None = None
    category: Name | None = None
    kind: EntryKind | None = None
    policy: Name | None = None
    after: EntryNo = Field(0, description="only entries after this number: to go on after a break")
    until: EntryNo | None = Field(
        None, description="only entries up to this number: `Butie-Until-Entry` of an earlier answer"
    )

    def selection(self, jurisdiction: str) -> Selection:
        return Selection(
            jurisdiction,
            self.from_on,
            self.to_on,
            retailer=self.retailer,
            store=self.store,
            pool=self.pool,
            category=self.category,
            kind=self.kind,
            policy=self.policy,
            after=self.after,
            until=self.until,
        )


class ExportQuery(Filters):
    """The entries, and the format of the file."""

    format: Format = "csv"
    names: Literal["en", "zh"] = Field("en", description="heading of csv and xlsx; zh: Chinese")
    bom: bool = Field(False, description="csv: begin with a byte order mark, for Excel")
    funding: bool = Field(False, description="add who bears each amount, four columns")
    sales: bool = Field(False, description="add what each line was sold for, one column")
    trailer: bool = Field(
        False, description="csv, ndjson: end with rows, sum and the SHA-256 of all before it"
    )
    compress: Compression | None = Field(None, description="sets Content-Encoding")

    def layout(self) -> Layout:
        return Layout(
            self.format,
            funding=self.funding,
            sales=self.sales,
            chinese_names=self.names == "zh",
            bom=self.bom,
            trailer=self.trailer and self.format in ("csv", "ndjson"),
        )


class TotalsQuery(Filters):
    """The entries, and what their totals show."""

    sales: bool = Field(False, description="add what the lines were sold for, less refunds")
    by: TotalsBy | None = Field(None, description="add totals by business day, category or town")


class ExportAnswer(StreamingResponse):
    """Streams a download, and closes it when the response was sent, failed or was aborted."""

    def __init__(self, download: Download, kind: Format, headers: dict[str, str]) -> None:
        super().__init__(download.pieces(), 200, headers, MEDIA_TYPES[kind])
        self._download = download
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome = "failed"
        try:
            await super().__call__(scope, receive, send)
            outcome = "whole" if self._download.whole else "left"
        except ClientDisconnect:
            outcome = "left"
            raise
        finally:
            metrics.exports.labels(self._kind, outcome).inc()
            await self._download.close()


Result = TypeVar("Result")


async def unless_left(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of the work. Cancels it when the client disconnects: raises ClientDisconnect."""

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.create_task(work), asyncio.create_task(leave())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return await working
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _header(description: str) -> dict[str, object]:
    return {"description": description, "schema": {"type": "string"}}


@router.get(
    "",
    response_class=Response,
    responses={
        200: {
            "description": "The file.",
            "content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()},
            "headers": {
                "Butie-Rows": _header("how many entries the file has when it is whole"),
                "Butie-Sum-Fen": _header("the sum of their amounts, in fen"),
                "Butie-Until-Entry": _header("`until` for the same entries again"),
                "Butie-Open-From": _header("from this day on entries may still be added"),
            },
        },
        **documented("too_many_rows", "invalid_field"),
    },
    description="The entries as a file, by entry number, from one snapshot that is complete up to "
    "`Butie-Until-Entry`. A closed day gives the same bytes for ever.\n\n" + described(),
)
async def export_journal(
    request: Request, service: ServiceOf, query: Annotated[ExportQuery, Query()]
) -> Response:
    selection = query.selection(service.settings.jurisdiction)
    download = Download(service.finance.books, selection, query.layout(), query.compress)
    try:
        await download.open()
    except (LedgerAway, ReportsBusy, BookersHang, StandbyBehind):
        metrics.exports.labels(query.format, "failed").inc()
        raise
    name = f"journal-{query.from_on}-{query.to_on}.{query.format}"
    headers = {
        "Butie-Rows": str(download.size.rows),
        "Butie-Sum-Fen": str(download.size.sum_fen),
        "Butie-Until-Entry": str(download.selection.until),
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    if download.open_from is not None:
        headers["Butie-Open-From"] = download.open_from.isoformat()
    if query.compress is not None:
        headers["Content-Encoding"] = query.compress
    return ExportAnswer(download, query.format, headers)


@router.get("/totals")
async def journal_totals(
    request: Request, service: ServiceOf, query: Annotated[TotalsQuery, Query()]
) -> Totals:
    """Count, sums and digest of an export with the same filters, by the same snapshot rule."""
    filters = query.selection(service.settings.jurisdiction)

    async def read() -> Totals:
        async with service.finance.books.snapshot(filters) as (connection, selection):
            return await read_totals(connection, selection, sales=query.sales, by=query.by)

    return await unless_left(request, read())
