"""`butie export` and `butie totals`: the journal as a file, and its control totals."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.progress import Progress

from service.cli.arguments import plain_name
from service.cli.faults import faults_reported
from service.cli.journal import reports_of
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.core.calendar import parse_day
from service.core.money import yuan
from service.finance.journal.download import Compression, Download
from service.finance.journal.export import Format, Layout
from service.finance.journal.selection import ENTRY_NO_MAX, EntryKind, Selection
from service.finance.journal.snapshot import Books
from service.finance.journal.totals import Subtotal, Totals, TotalsBy, read_totals

From = Annotated[str, typer.Option("--from", metavar="DAY", help="first booking day")]
To = Annotated[str, typer.Option("--to", metavar="DAY", help="last booking day, included")]
Filter = Annotated[str | None, typer.Option(callback=plain_name)]
KindFilter = Annotated[EntryKind | None, typer.Option()]
AfterEntry = Annotated[
    int, typer.Option(min=0, max=ENTRY_NO_MAX, help="only entries after this number")
]
UntilEntry = Annotated[
    int | None, typer.Option(min=0, max=ENTRY_NO_MAX, help="only entries up to this number")
]


def days(from_on: str, to_on: str) -> tuple[date, date]:
    """The two options as days. Raises Misconfigured."""
    try:
        first, last = parse_day(from_on), parse_day(to_on)
    except ValueError:
        raise Misconfigured("--from and --to are days like 2025-06-18.") from None
    if first > last:
        raise Misconfigured("--from is after --to.")
    return first, last


@asynccontextmanager
async def books_of(settings: Settings) -> AsyncIterator[Books]:
    """The journal of production, of its standby, or of the running sandbox."""
    async with reports_of(settings) as (reports, _):
        books = await Books.open(reports, settings.standby_url)
        try:
            yield books
        finally:
            books.close()


def progress() -> Progress:
    """A progress bar on standard error: standard output may be the file."""
    return Progress(*Progress.get_default_columns(), console=Console(stderr=True))


def export_command(
    from_on: From,
    to_on: To,
    out: Annotated[Path, typer.Option("--out", "-o", help="the file; - is standard output")],
    format_: Annotated[Format, typer.Option("--format")] = "csv",
    retailer: Filter = None,
    store: Filter = None,
    pool: Filter = None,
    category: Filter = None,
    kind: KindFilter = None,
    policy: Filter = None,
    after: AfterEntry = 0,
    until: UntilEntry = None,
    chinese: Annotated[bool, typer.Option("--chinese", help="heading in Chinese")] = False,
    bom: Annotated[bool, typer.Option("--bom", help="csv: for Excel")] = False,
    funding: Annotated[bool, typer.Option("--funding", help="who bears each amount")] = False,
    sales: Annotated[bool, typer.Option("--sales", help="what each line was sold for")] = False,
    trailer: Annotated[
        bool, typer.Option("--trailer", help="csv, ndjson: end with the sum")
    ] = False,
    compress: Annotated[Compression | None, typer.Option()] = None,
) -> None:
    """Write journal entries to a file. Leaves no file if it cannot be completed."""
    with faults_reported():
        settings = Settings()
        first, last = days(from_on, to_on)
        selection = Selection(
            settings.jurisdiction, first, last, retailer, store, pool, category, kind, policy,
            after, until,
        )  # fmt: skip
        ending = trailer and format_ in ("csv", "ndjson")
        layout = Layout(format_, funding, chinese, bom, ending, sales)
        asyncio.run(_export(settings, selection, layout, compress, out))


async def _export(
    settings: Settings,
    selection: Selection,
    layout: Layout,
    compress: Compression | None,
    out: Path,
) -> None:
    with progress() as bars:
        bar = bars.add_task("Exporting", total=None)
        async with books_of(settings) as books:
            download = Download(
                books, selection, layout, compress, lambda rows: bars.update(bar, advance=rows)
            )
            await download.open()
            bars.update(bar, total=download.size.rows)
            try:
                await _write(download, out)
            finally:
                await download.close()
            bars.update(bar, completed=download.size.rows)
    rows, sum_fen = download.size
    open_from = download.open_from
    still = f"; from {open_from} on entries may still be added" if open_from else ""
    typer.echo(
        f"{rows} entries, {yuan(sum_fen)} yuan, up to entry {download.selection.until}{still}",
        err=True,
    )


async def _write(download: Download, out: Path) -> None:
    if str(out) == "-":
        await _copy(download, sys.stdout.buffer)
        return
    draft = out.with_name(out.name + ".part")
    try:
        with draft.open("wb") as file:
            await _copy(download, file)
            os.fsync(file.fileno())
        draft.replace(out)
    except OSError as error:
        raise Misconfigured(f"{out} cannot be written: {error.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)


async def _copy(download: Download, file: BinaryIO) -> None:
    async for piece in download.pieces():
        file.write(piece)


def totals_command(
    from_on: From,
    to_on: To,
    retailer: Filter = None,
    store: Filter = None,
    pool: Filter = None,
    category: Filter = None,
    kind: KindFilter = None,
    policy: Filter = None,
    after: AfterEntry = 0,
    until: UntilEntry = None,
    sales: Annotated[bool, typer.Option("--sales", help="what the lines were sold for")] = False,
    by: Annotated[TotalsBy | None, typer.Option("--by", help="one more grouping")] = None,
) -> None:
    """Show the totals of an export with the same filters, and the SHA-256 of its plain csv."""
    with faults_reported():
        settings = Settings()
        first, last = days(from_on, to_on)
        selection = Selection(
            settings.jurisdiction, first, last, retailer, store, pool, category, kind, policy,
            after, until,
        )  # fmt: skip
        totals = asyncio.run(_totals(settings, selection, sales, by))
    _show(totals)


async def _totals(
    settings: Settings, selection: Selection, sales: bool, by: TotalsBy | None
) -> Totals:
    async with books_of(settings) as books, books.snapshot(selection) as (reading, completed):
        return await read_totals(reading, completed, sales=sales, by=by)


def _show(totals: Totals) -> None:
    rows: list[tuple[object, ...]] = []
    groups: dict[str, list[Subtotal]] = {
        "kind": totals.by_kind,
        "pool": totals.by_pool,
        "retailer": totals.by_retailer,
        "day": totals.by_day or [],
        "category": totals.by_category or [],
        "town": totals.by_town or [],
    }
    for attribute, subtotals in groups.items():
        rows += [
            (
                *(attribute, subtotal.name or "-", subtotal.rows, yuan(subtotal.sum_fen)),
                *_sold(subtotal.sales_fen),
            )
            for subtotal in subtotals
        ]
    empty = () if totals.sales_fen is None else ("",)
    for level in ("centre", "province", "city", "district"):
        rows.append(("borne by", level, "", yuan(getattr(totals.funding, f"{level}_fen")), *empty))
    rows.append(("all", "", totals.rows, yuan(totals.sum_fen), *_sold(totals.sales_fen)))
    heading = ("by", "", "entries", "yuan")
    print_table(heading if totals.sales_fen is None else (*heading, "sales, yuan"), rows)
    typer.echo(f"up to entry {totals.until_entry}; SHA-256 of the plain csv: {totals.sha256}")


def _sold(sales_fen: int | None) -> tuple[str, ...]:
    return () if sales_fen is None else (yuan(sales_fen),)
