"""`butie settle`: draft, approve and pay settlements, by the keys of two people."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import asyncpg
import typer

from service.cli.arguments import plain_name, printable
from service.cli.books import Filter, From, To, days
from service.cli.faults import faults_reported
from service.cli.journal import reports_of
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.core.money import yuan
from service.finance.settlements.settlement import (
    AdvanceOutstanding,
    AdvanceTooLarge,
    DraftOutcome,
    NoSuchRecord,
    NothingToSettle,
    RetailerSuspended,
    SameKey,
    Settlement,
    SettlementActor,
    SettlementOutcome,
    SettlementPeriod,
    SettlementState,
    WrongSettlementState,
)
from service.finance.settlements.settlements import Settlements
from service.finance.settlements.statement import STATEMENT_FILES, StatementFile, read_statement
from service.retailers.keys import hash_secret

app = typer.Typer(name="settle", help="Settlements.", no_args_is_help=True)

Id = Annotated[UUID, typer.Argument(metavar="SETTLEMENT_ID")]
Result = TypeVar("Result")
Work = Callable[[Settlements, SettlementActor], Awaitable[Result]]

_KEY_SQL = """
    SELECT key_id FROM api_key WHERE jurisdiction = $1 AND secret_sha256 = $2
        AND 'finance' = ANY (scopes) AND (expires_at IS NULL OR expires_at > $3)
        AND (revoked_at IS NULL OR revoked_at > $3)
"""
SENTENCES: dict[type[object], str] = {
    NoSuchRecord: "There is no such retailer or settlement.",
    NothingToSettle: "The retailer has no invoiced entry in that period that is not settled yet.",
    AdvanceOutstanding: "The retailer has an advance that was not netted yet: settle first, or void"
    " its draft.",
    AdvanceTooLarge: "Less is due in that period by now: void this advance and draft another.",
    RetailerSuspended: "The retailer is suspended: nothing is approved for it until it is resumed.",
    SameKey: "The key that drafted it may not approve it: set BUTIE_KEY to another finance key.",
}


@app.command("draft")
def draft_command(
    retailer: Annotated[str, typer.Argument(metavar="RETAILER_ID", callback=plain_name)],
    from_on: From,
    to_on: To,
    advance: Annotated[
        int | None, typer.Option(min=1, max=100, help="percent to pay in advance, instead")
    ] = None,
) -> None:
    """Freeze a retailer's invoiced entries of a period, with their net."""

    async def work(settlements: Settlements, actor: SettlementActor) -> DraftOutcome:
        period = SettlementPeriod(retailer, *days(from_on, to_on))
        if advance is None:
            return await settlements.draft(period, actor)
        return await settlements.advance(period, advance * 100, actor)

    _show(_act(work))


@app.command("approve")
def approve_command(settlement_id: Id) -> None:
    """Approve it, with another key than the draft's."""
    _show(_act(lambda settlements, actor: settlements.approve(settlement_id, actor)))


@app.command("pay")
def pay_command(
    settlement_id: Id, reference: Annotated[str, typer.Option(help="of the payment")]
) -> None:
    """Note that it was paid."""
    with faults_reported():
        printable(reference)
    _show(_act(lambda settlements, actor: settlements.pay(settlement_id, reference, actor)))


@app.command("void")
def void_command(settlement_id: Id, reason: Annotated[str, typer.Option()]) -> None:
    """Withdraw a draft; its entries can be settled again."""
    with faults_reported():
        printable(reason)
    _show(_act(lambda settlements, actor: settlements.void(settlement_id, reason, actor)))


@app.command("show")
def show_command(settlement_id: Id) -> None:
    """Show a settlement."""
    _show(_read(lambda settlements: settlements.read(settlement_id)))


@app.command("list")
def list_command(
    retailer: Filter = None,
    state: Annotated[SettlementState | None, typer.Option()] = None,
) -> None:
    """List the newest settlements."""
    _print(_read(lambda settlements: settlements.newest(retailer, state)))


@app.command("statement")
def statement_command(
    settlement_id: Id,
    out: Annotated[Path, typer.Option("--out", "-o")],
    format_: Annotated[StatementFile, typer.Option("--format")] = "pdf",
) -> None:
    """Write its statement to a file."""

    async def write(settings: Settings) -> int:
        async with reports_of(settings) as (reports, _), reports.connection() as connection:
            jurisdiction = settings.jurisdiction
            settlement = _good(await Settlements(connection, jurisdiction).read(settlement_id))
            statement = await read_statement(connection, jurisdiction, settlement)
        return out.write_bytes(STATEMENT_FILES[format_][0](statement))

    with faults_reported():
        try:
            size = asyncio.run(write(Settings()))
        except OSError as error:
            raise Misconfigured(f"{out} cannot be written: {error.strerror}.") from None
    typer.echo(f"{out}: {size} bytes", err=True)


# ----------------------------------------------------------------------------------------


def _act(work: Work[Result]) -> Result:
    async def run(settings: Settings) -> Result:
        async with reports_of(settings) as (reports, clock), reports.connection() as connection:
            actor = SettlementActor(await _key_id(connection, settings, clock.now()), clock.now())
            return await work(Settlements(connection, settings.jurisdiction), actor)

    with faults_reported():
        return asyncio.run(run(Settings()))


def _read(work: Callable[[Settlements], Awaitable[Result]]) -> Result:
    async def run(settings: Settings) -> Result:
        async with reports_of(settings) as (reports, _), reports.connection() as connection:
            return await work(Settlements(connection, settings.jurisdiction))

    with faults_reported():
        return asyncio.run(run(Settings()))


async def _key_id(connection: asyncpg.Connection, settings: Settings, now: object) -> str:
    """Who acts: a good finance key, as by the API. Raises Misconfigured."""
    secret = os.environ.get("BUTIE_KEY") or _sandbox_key(settings)
    key_id = await connection.fetchval(_KEY_SQL, settings.jurisdiction, hash_secret(secret), now)
    if key_id is None:
        raise Misconfigured("BUTIE_KEY is no valid finance key.")
    return str(key_id)


def _sandbox_key(settings: Settings) -> str:
    if settings.database_url is None:
        try:
            sandbox = json.loads((settings.data_dir / "sandbox.json").read_text())
            return str(sandbox["keys"]["finance"])
        except (OSError, ValueError, KeyError):
            pass  # no sandbox: BUTIE_KEY is required
    raise Misconfigured("Set BUTIE_KEY to your finance key: drafting and approving take two.")


def _good(outcome: SettlementOutcome) -> Settlement:
    if isinstance(outcome, Settlement):
        return outcome
    if isinstance(outcome, WrongSettlementState):
        raise Misconfigured(outcome.why().en)
    if isinstance(outcome, NothingToSettle) and (why := outcome.why()):
        raise Misconfigured(why.en)
    raise Misconfigured(SENTENCES[type(outcome)])


def _show(outcome: SettlementOutcome) -> None:
    with faults_reported():
        settlement = _good(outcome)
    amounts = {
        "granted": settlement.granted_fen, "refunded": settlement.refunded_fen,
        "clawed back": settlement.clawed_back_fen, "advanced before": -settlement.advanced_fen,
        "net": settlement.net_fen,
    }  # fmt: skip
    rows: list[tuple[str, object]] = [
        ("settlement", str(settlement.settlement_id)),
        ("retailer", settlement.retailer_id),
        ("period", f"{settlement.from_on} to {settlement.to_on}"),
        ("kind", settlement.kind),
        ("state", settlement.state),
        ("entries", settlement.entries),
        *((f"{name}, yuan", yuan(fen)) for name, fen in amounts.items()),
        ("claims left out, without an invoice", settlement.uninvoiced_claims),
        ("their subsidy, yuan", _yuan(settlement.uninvoiced_fen)),
        ("drafted", f"{settlement.drafted_by}"),
        ("approved", settlement.approved_by),
        ("paid", settlement.payment_reference),
        *(
            [("voided", f"{settlement.voided_by}: {settlement.void_reason}")]
            if settlement.voided_by
            else []
        ),
    ]
    print_table(("", ""), rows)


def _yuan(fen: int | None) -> str | None:
    return None if fen is None else yuan(fen)


def _print(settlements: Sequence[Settlement]) -> None:
    columns = ("settlement", "retailer", "from", "to", "kind", "state", "entries", "net, yuan")
    rows = [
        (
            str(settlement.settlement_id),
            settlement.retailer_id,
            settlement.from_on,
            settlement.to_on,
            settlement.kind,
            settlement.state,
            settlement.entries,
            yuan(settlement.net_fen),
        )
        for settlement in settlements
    ]  # fmt: skip
    print_table(columns, rows)
