"""`butie reconcile FILE`: compare a file of a retailer or a payment platform with the ledger."""

import asyncio
import csv
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.books import Filter, From, To, books_of, days, progress
from service.cli.faults import faults_reported
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.core.money import yuan
from service.finance.files.profiles.profile import ProfileName
from service.finance.journal.selection import Selection
from service.finance.reconcile.items import harmless_row, item_columns
from service.finance.reconcile.ledger_units import ReconcileScope
from service.finance.reconcile.mapping import (
    AmountIs,
    AmountUnit,
    ColumnMapping,
    RowState,
    states_of,
)
from service.finance.reconcile.pairing import AGREEING
from service.finance.reconcile.profile_pairs import profile_mapping
from service.finance.reconcile.run import (
    UNLISTED,
    ReconcileItem,
    ReconcileRun,
    ReconcileSummary,
)
from service.finance.reconcile.sentences import BAD_ROW_SENTENCES
from service.finance.reconcile.signs import RowsAre

SHOWN_MAX = 20

HeadingOption = Annotated[str | None, typer.Option(metavar="HEADING")]


def reconcile_command(
    file: Annotated[
        Path,
        typer.Argument(
            help="csv or xlsx, or what a profile's platform sends; at most 1,000,000 rows"
        ),
    ],
    from_on: From,
    to_on: To,
    profile: Annotated[
        ProfileName | None, typer.Option(help="the platform whose file it is, as downloaded")
    ] = None,
    amount: Annotated[
        str | None, typer.Option(metavar="HEADING", help="the subsidy's column; a profile has one")
    ] = None,
    claim_id: HeadingOption = None,
    order_no: HeadingOption = None,
    invoice_no: HeadingOption = None,
    store_id: HeadingOption = None,
    line_no: HeadingOption = None,
    serial_no: HeadingOption = None,
    state: HeadingOption = None,
    states: Annotated[str, typer.Option(help="paid:confirmed,returned:refunded")] = "",
    unit: Annotated[AmountUnit, typer.Option()] = "yuan",
    amount_is: Annotated[
        AmountIs | None,
        typer.Option(help="granted; net: less what was refunded; price: before the subsidy"),
    ] = None,
    rows: Annotated[RowsAre, typer.Option(help="movements: payments and refunds")] = "sales",
    refund: Annotated[
        str | None, typer.Option(metavar="HEADING", help="movements: the refunds' own amounts")
    ] = None,
    skip: Annotated[int, typer.Option(min=0, max=100, help="lines before the heading")] = 0,
    skip_end: Annotated[int, typer.Option(min=0, max=100, help="rows of totals at the end")] = 0,
    sheet: Annotated[
        str | None, typer.Option(metavar="NAME", help="xlsx: the sheet, if several have rows")
    ] = None,
    retailer: Filter = None,
    store: Filter = None,
    list_: Annotated[Path | None, typer.Option("--list", help="csv of every difference")] = None,
    matched: Annotated[bool, typer.Option("--matched", help="also list equal pairs")] = False,
) -> None:
    """Compare a file with the ledger. Exits with 1 when they differ, and with 2 when they could not
    be compared. Changes nothing."""
    keys = {"claim_id": claim_id, "order_no": order_no, "invoice_no": invoice_no,
            "store_id": store_id, "line_no": line_no, "serial_no": serial_no}  # fmt: skip
    with faults_reported(exit_code=2):
        settings = Settings()
        mapped = tuple((name, heading) for name, heading in keys.items() if heading)
        if profile is not None:
            if skip or skip_end or refund or unit != "yuan":
                raise Misconfigured("A profile knows its frame, its unit and its refunds: leave out"
                                    " --skip, --skip-end, --unit and --refund.")  # fmt: skip
            mapping = profile_mapping(
                profile, mapped, amount, amount_is, state, _known_states(states), sheet, rows
            )
        elif amount is None:
            raise Misconfigured("Name the subsidy's column with --amount, or a --profile.")
        else:
            mapping = ColumnMapping(
                mapped, amount, unit, amount_is or "granted", state, _known_states(states), skip,
                sheet, skip_end, rows, refund,
            )  # fmt: skip
        _check(mapping)
        if list_ is not None and list_.exists() and file.exists() and list_.samefile(file):
            raise Misconfigured("--list names the file to reconcile: it would be overwritten.")
        scope = ReconcileScope(settings.jurisdiction, *days(from_on, to_on), retailer, store)
        summary, shown = asyncio.run(_reconcile(settings, scope, mapping, file, list_, matched))
    _show(summary, shown)
    if profile is not None and not summary.totals:
        typer.echo("The file has no totals of its own: nothing proves that no row is missing.")
    differing = [t for name, t in summary.findings.items() if name not in AGREEING]
    if summary.bad_rows or any(total.count for total in differing):
        raise typer.Exit(1)


def _known_states(states: str) -> dict[str, RowState]:
    """Raises Misconfigured."""
    try:
        return states_of(states)
    except ValueError as error:
        raise Misconfigured(f"--states {error}.") from None


def _check(mapping: ColumnMapping) -> None:
    """Raises Misconfigured."""
    if mapping.states and mapping.state is None:
        raise Misconfigured("Name the column of the states with --state, or leave out --states.")
    if mapping.refund and not mapping.by_movement:
        raise Misconfigured("--refund needs --rows movements: a sale has no refunds of its own.")
    if mapping.by_movement and mapping.amount_is != "granted":
        raise Misconfigured(
            "Leave out --rows movements, or --amount-is net and price (as a yjhx file has):"
            " a movement is a payment or a refund of the subsidy."
        )
    if not mapping.identifies:
        raise Misconfigured(
            "Name the column to match by: --claim-id, --order-no, --invoice-no or --serial-no."
        )


async def _reconcile(
    settings: Settings,
    scope: ReconcileScope,
    mapping: ColumnMapping,
    path: Path,
    list_: Path | None,
    with_matched: bool,
) -> tuple[ReconcileSummary, list[ReconcileItem]]:
    shown: list[ReconcileItem] = []
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            listing = list_ and stack.enter_context(list_.open("w", newline="", encoding="utf-8"))
        except OSError as error:
            raise Misconfigured(f"{error.filename}: {error.strerror}.") from None
        bars = stack.enter_context(progress())
        bar = bars.add_task("Reconciling", total=1.0)

        async def on_progress(share: float) -> None:
            bars.update(bar, completed=share)

        run = ReconcileRun(scope, mapping, on_progress)
        stack.callback(run.close)
        await run.stage_file(file)
        period = Selection(scope.jurisdiction, scope.from_on, scope.to_on)
        async with books_of(settings) as books, books.snapshot(period) as (reading, selection):
            await run.stage_books(reading, selection.until or 0)
        writer: Any = csv.writer(listing) if listing else None
        if writer:
            writer.writerow([column.name for column in item_columns(mapping.rows)])
        number = 0
        async for item in run.items(with_matched=with_matched):
            number += 1
            if len(shown) < SHOWN_MAX and item.finding not in UNLISTED:
                shown.append(item)
            if writer:
                writer.writerow(harmless_row(number, item, mapping.rows))
        bars.update(bar, completed=1.0)
    return run.summary, shown


def _show(summary: ReconcileSummary, shown: list[ReconcileItem]) -> None:
    rows = [
        (name, total.count, yuan(total.here_fen), yuan(total.there_fen))
        for name, total in summary.findings.items()
    ]
    rows += [("bad_row", summary.bad_rows, "", ""), ("remark", summary.remarks, "", "")]
    unmoved = ""
    if summary.unmoved_rows:
        rows.append(("unmoved", summary.unmoved_rows, "", ""))
        unmoved = f" {summary.unmoved_rows} that moved no money,"
    print_table(("finding", "count", "here, yuan", "in the file, yuan"), rows)
    typer.echo(
        f"The file has {summary.rows_in_file} rows by its own count, and"
        f" {summary.rows_accounted} are accounted for: {summary.heading_rows} heading,"
        f" {summary.skipped_rows} skipped"
        f" before it, {summary.trailer_rows} at the end, {summary.remarks} remarks,"
        f" {summary.bad_rows} bad,{unmoved} {summary.paired_rows()} in the other findings."
    )
    if summary.totals:
        totals = ", ".join(f"{total.name} {total.stated}" for total in summary.totals)
        typer.echo(f"The rows add up to the platform's own totals: {totals}.")
    if shown:
        columns = ("finding", "line", "matched by", "here, yuan", "there, yuan", "here", "there")
        print_table(columns, [_row(item) for item in shown], title=f"The first {len(shown)}")


def _row(item: ReconcileItem) -> tuple[object, ...]:
    here = "" if item.here_fen is None else yuan(item.here_fen)
    there = "" if item.there_fen is None else yuan(item.there_fen)
    if item.why is not None:
        return item.finding, item.file_line, BAD_ROW_SENTENCES[item.why].en, "", "", "", ""
    return item.finding, item.file_line, item.key, here, there, item.here_state, item.there_state
