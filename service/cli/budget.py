"""`butie budget`: the budgets of the pools, their adjustments and their tranches."""

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

import typer

from service.cli.arguments import printable
from service.cli.faults import faults_reported
from service.cli.journal import reports_of
from service.cli.ledger import act
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.core.calendar import parse_instant
from service.core.money import yuan
from service.db.acts import ActContext
from service.policies import read_book
from service.pools.adjustments import (
    BUDGET_MAX_FEN,
    AboveAll,
    Adjustment,
    BelowSpent,
    NoSuchPool,
    adjust,
)
from service.pools.budgets import Allocation, Budget, read_budgets
from service.pools.tranches import Tranche, list_tranches, plan, withdraw

app = typer.Typer(name="budget", help="Budgets.", no_args_is_help=True)
tranches = typer.Typer(
    name="tranche", help="Money that becomes available at a set time.", no_args_is_help=True
)
app.add_typer(tranches)

WITHOUT_SECONDS = re.compile(r"(T\d\d:\d\d)([Zz+-].*)?$")

Pool = Annotated[str, typer.Argument(metavar="POOL")]
Document = Annotated[str, typer.Option("--document", help="number of the document that orders it")]


@app.command("list")
def list_budgets() -> None:
    """Show the budget of every pool."""
    with faults_reported():
        budgets = asyncio.run(_read_budgets(Settings()))
    columns = ("pool", "allocated", "confirmed", "reserved", "remaining", "planned", "next tranche")
    rows = [
        (
            budget.pool,
            yuan(budget.allocated_fen),
            yuan(budget.confirmed_fen),
            yuan(budget.reserved_fen),
            yuan(budget.remaining_fen),
            yuan(budget.planned_fen),
            budget.next_opens_at,
        )
        for budget in budgets
    ]
    print_table(columns, rows, title="yuan")


async def _read_budgets(settings: Settings) -> Sequence[Budget]:
    async with reports_of(settings) as (reports, _), reports.connection() as connection:
        return await read_budgets(connection, settings.jurisdiction)


@app.command("adjust")
def adjust_budget(
    pool: Pool,
    fen: Annotated[int, typer.Option(help="amount to add; negative to take away")],
    document: Document,
    reason: Annotated[str, typer.Option()],
    key: Annotated[str | None, typer.Option(help="Idempotency-Key, for a repeat")] = None,
) -> None:
    """Raise or lower a budget."""

    async def work(context: ActContext) -> Adjustment:
        if fen == 0 or abs(fen) > BUDGET_MAX_FEN:
            raise Misconfigured(f"--fen {fen}: an amount in fen, not 0.")
        allocation = Allocation(pool, fen, printable(document), printable(reason))
        outcome = await adjust(context, key or f"cli-{uuid4()}", allocation, _pools())
        match outcome:
            case Adjustment():
                return outcome
            case BelowSpent(free_fen):
                raise Misconfigured(
                    f"At most {yuan(free_fen)} yuan can be taken: the rest is spent or held."
                )
            case AboveAll():
                raise Misconfigured("The budget would be above any real one: --fen is in fen.")
            case NoSuchPool():
                raise _no_such(pool)
        raise Misconfigured("This key was used for another adjustment.")

    adjustment = act(work)
    typer.echo(f"{pool} has {yuan(adjustment.allocated_fen)} yuan now.", err=True)


@tranches.command("add")
def tranche_add(
    pool: Pool,
    at: Annotated[str, typer.Option(help="when it opens: 2025-07-01T00:00+08:00")],
    fen: Annotated[int, typer.Option()],
    document: Document,
) -> None:
    """Plan a tranche. If its time is past, it opens at once."""

    async def work(context: ActContext) -> Tranche:
        if not 0 < fen <= BUDGET_MAX_FEN:
            raise Misconfigured(f"--fen {fen}: an amount in fen, more than 0.")
        planned = await plan(context, pool, _instant(at), fen, printable(document), _pools())
        if planned is None:
            raise _no_such(pool)
        return planned

    planned = act(work)
    typer.echo(f"{planned.tranche_id} opens at {planned.opens_at.isoformat()}.", err=True)


@tranches.command("list")
def tranche_list() -> None:
    """Show all tranches in the order of their time."""

    async def work(context: ActContext) -> Sequence[Tranche]:
        return await list_tranches(context.connection, context.jurisdiction)

    rows = [
        (
            tranche.tranche_id,
            tranche.pool,
            tranche.opens_at,
            yuan(tranche.amount_fen),
            tranche.document_no,
            tranche.state,
        )
        for tranche in act(work)
    ]
    print_table(("tranche", "pool", "opens at", "yuan", "document", "state"), rows)


@tranches.command("withdraw")
def tranche_withdraw(
    pool: Pool, tranche_id: Annotated[UUID, typer.Argument(metavar="TRANCHE_ID")]
) -> None:
    """Withdraw a tranche that is still planned."""

    async def work(context: ActContext) -> None:
        tranche = await withdraw(context, pool, tranche_id)
        if tranche is None:
            raise Misconfigured(f"{pool} has no tranche {tranche_id}.")
        if tranche.state != "withdrawn":
            raise Misconfigured("It has opened: take the money back with `butie budget adjust`.")

    act(work)
    typer.echo("Withdrawn.", err=True)


def _pools() -> frozenset[str]:
    settings = Settings()
    return read_book(settings.jurisdiction, settings.policies_dir).pools


def _no_such(pool: str) -> Misconfigured:
    return Misconfigured(f"{pool} is no pool: there are {', '.join(sorted(_pools()))}.")


def _instant(text: str) -> datetime:
    try:
        return parse_instant(WITHOUT_SECONDS.sub(r"\1:00\2", text))
    except ValueError:
        raise Misconfigured(
            f"--at {text}: write an instant with its zone, like 2025-07-01T00:00+08:00."
        ) from None
