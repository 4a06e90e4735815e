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
from service.cli.faults import told
from service.cli.journal import reports_of
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.core.money import yuan
from service.finance.settlements.settlements import (
    Act,
    AdvanceOutstanding,
    AdvanceTooLarge,
    Answer,
    Drafted,
    NoSuchRecord,
    NothingToSettle,
    Period,
    RetailerSuspended,
    SameKey,
    Settlement,
    Settlements,
    State,
    WrongState,
)
from service.finance.settlements.statement import FILES, StatementFile, read_statement
from service.retailers.keys import hash_secret

app = typer.Typer(name="settle", help="Settlements.", no_args_is_help=True)

Id = Annotated[UUID, typer.Argument(metavar="SETTLEMENT_ID")]
Result = TypeVar("Result")
Work = Callable[[Settlements, Act], Awaitable[Result]]

KEY = """
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

    async def work(settlements: Settlements, act: Act) -> Drafted:
        period = Period(retailer, *days(from_on, to_on))
        if advance is None:
            return await settlements.draft(period, act)
        return await settlements.advance(period, advance * 100, act)

    _show(_act(work))


@app.command("approve")
def approve_command(settlement_id: Id) -> None:
    """Approve it, with another key than the draft's."""
    _show(_act(lambda settlements, act: settlements.approve(settlement_id, act)))


@app.command("pay")
def pay_command(
    settlement_id: Id, reference: Annotated[str, typer.Option(help="of the payment")]
) -> None:
    """Note that it was paid."""
    with told():
        printable(reference)
    _show(_act(lambda settlements, act: settlements.pay(settlement_id, reference, act)))


@app.command("void")
def void_command(settlement_id: Id, reason: Annotated[str, typer.Option()]) -> None:
    """Withdraw a draft that was made in error; its entries are free again."""
    with told():
        printable(reason)
    _show(_act(lambda settlements, act: settlements.void(settlement_id, reason, act)))


@app.command("show")
def show_command(settlement_id: Id) -> None:
    """Show a settlement."""
    _show(_read(lambda settlements: settlements.read(settlement_id)))


@app.command("list")
def list_command(
    retailer: Filter = None,
    state: Annotated[State | None, typer.Option()] = None,
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
            place = settings.jurisdiction
            found = _good(await Settlements(connection, place).read(settlement_id))
            statement = await read_statement(connection, place, found)
        return out.write_bytes(FILES[format_][0](statement))

    with told():
        try:
            size = asyncio.run(write(Settings()))
        except OSError as error:
            raise Misconfigured(f"{out} cannot be written: {error.strerror}.") from None
    typer.echo(f"{out}: {size} bytes", err=True)


# ----------------------------------------------------------------------------------------


def _act(work: Work[Result]) -> Result:
    async def run(settings: Settings) -> Result:
        async with reports_of(settings) as (reports, clock), reports.connection() as connection:
            act = Act(await _key_id(connection, settings, clock.now()), clock.now())
            return await work(Settlements(connection, settings.jurisdiction), act)

    with told():
        return asyncio.run(run(Settings()))


def _read(work: Callable[[Settlements], Awaitable[Result]]) -> Result:
    async def run(settings: Settings) -> Result:
        async with reports_of(settings) as (reports, _), reports.connection() as connection:
            return await work(Settlements(connection, settings.jurisdiction))

    with told():
        return asyncio.run(run(Settings()))


async def _key_id(connection: asyncpg.Connection, settings: Settings, now: object) -> str:
    """Who acts: a good finance key, as by the API. Raises Misconfigured."""
    secret = os.environ.get("BUTIE_KEY") or _sandbox_key(settings)
    found = await connection.fetchval(KEY, settings.jurisdiction, hash_secret(secret), now)
    if found is None:
        raise Misconfigured("BUTIE_KEY is no valid finance key.")
    return str(found)


def _sandbox_key(settings: Settings) -> str:
    if settings.database_url is None:
        try:
            known = json.loads((settings.data_dir / "sandbox.json").read_text())
            return str(known["keys"]["finance"])
        except (OSError, ValueError, KeyError):
            pass  # then it must be given
    raise Misconfigured("Set BUTIE_KEY to your finance key: drafting and approving take two.")


def _good(found: Answer) -> Settlement:
    if isinstance(found, Settlement):
        return found
    if isinstance(found, WrongState):
        raise Misconfigured(found.why().en)
    raise Misconfigured(SENTENCES[type(found)])


def _show(found: Answer) -> None:
    with told():
        one = _good(found)
    amounts = {
        "granted": one.granted_fen, "refunded": one.refunded_fen,
        "clawed back": one.clawed_back_fen, "advanced before": -one.advanced_fen,
        "net": one.net_fen,
    }  # fmt: skip
    rows: list[tuple[str, object]] = [
        ("settlement", str(one.settlement_id)),
        ("retailer", one.retailer_id),
        ("period", f"{one.from_on} to {one.to_on}"),
        ("kind", one.kind),
        ("state", one.state),
        ("entries", one.entries),
        *((f"{name}, yuan", yuan(fen)) for name, fen in amounts.items()),
        ("drafted", f"{one.drafted_by}"),
        ("approved", one.approved_by),
        ("paid", one.payment_reference),
        *([("voided", f"{one.voided_by}: {one.void_reason}")] if one.voided_by else []),
    ]
    print_table(("", ""), rows)


def _print(found: Sequence[Settlement]) -> None:
    columns = ("settlement", "retailer", "from", "to", "kind", "state", "entries", "net, yuan")
    rows = [
        (
            str(one.settlement_id), one.retailer_id, one.from_on, one.to_on, one.kind, one.state,
            one.entries, yuan(one.net_fen),
        )
        for one in found
    ]  # fmt: skip
    print_table(columns, rows)
