"""`butie budget`: the pools, and the money that goes into them."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

import typer

from service.cli.arguments import printable
from service.cli.ledger import act
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.core.calendar import parse_instant
from service.core.money import yuan
from service.db.acts import Office
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
tranches = typer.Typer(name="tranche", help="Parts that open on their day.", no_args_is_help=True)
app.add_typer(tranches)

WITHOUT_SECONDS = re.compile(r"(T\d\d:\d\d)([Zz+-].*)?$")

Pool = Annotated[str, typer.Argument(metavar="POOL")]
Document = Annotated[str, typer.Option("--document", help="number of the paper that orders it")]


@app.command("list")
def list_budgets() -> None:
    """Show how every pool stands."""

    async def work(office: Office) -> Sequence[Budget]:
        return await read_budgets(office.connection, office.jurisdiction)

    columns = ("pool", "allocated", "confirmed", "reserved", "remaining", "planned", "next part")
    rows = [
        (
            one.pool,
            yuan(one.allocated_fen),
            yuan(one.confirmed_fen),
            yuan(one.reserved_fen),
            yuan(one.remaining_fen),
            yuan(one.planned_fen),
            one.next_opens_at,
        )
        for one in act(work)
    ]
    print_table(columns, rows, title="yuan")


@app.command("adjust")
def adjust_budget(
    pool: Pool,
    fen: Annotated[int, typer.Option(help="how much more; less with a minus sign")],
    document: Document,
    reason: Annotated[str, typer.Option()],
    key: Annotated[str | None, typer.Option(help="Idempotency-Key, for a repeat")] = None,
) -> None:
    """Raise or lower a budget."""

    async def work(office: Office) -> Adjustment:
        if fen == 0 or abs(fen) > BUDGET_MAX_FEN:
            raise Misconfigured(f"--fen {fen}: an amount in fen, not 0.")
        allocation = Allocation(pool, fen, printable(document), printable(reason))
        found = await adjust(office, key or f"cli-{uuid4()}", allocation, _pools())
        match found:
            case Adjustment():
                return found
            case BelowSpent(free_fen):
                raise Misconfigured(
                    f"At most {yuan(free_fen)} yuan can be taken: the rest is spent."
                )
            case AboveAll():
                raise Misconfigured("That would raise the budget above all reason: it is in fen.")
            case NoSuchPool():
                raise _no_such(pool)
        raise Misconfigured("This key was used for another adjustment.")

    made = act(work)
    typer.echo(f"{pool} has {yuan(made.allocated_fen)} yuan now.", err=True)


@tranches.command("add")
def tranche_add(
    pool: Pool,
    at: Annotated[str, typer.Option(help="when it opens: 2025-07-01T00:00+08:00")],
    fen: Annotated[int, typer.Option()],
    document: Document,
) -> None:
    """Plan a part that opens by itself; one of the past opens at once."""

    async def work(office: Office) -> Tranche:
        if not 0 < fen <= BUDGET_MAX_FEN:
            raise Misconfigured(f"--fen {fen}: an amount in fen, more than 0.")
        made = await plan(office, pool, _instant(at), fen, printable(document), _pools())
        if made is None:
            raise _no_such(pool)
        return made

    made = act(work)
    typer.echo(f"{made.tranche_id} opens at {made.opens_at.isoformat()}.", err=True)


@tranches.command("list")
def tranche_list() -> None:
    """Show all tranches by their time."""

    async def work(office: Office) -> Sequence[Tranche]:
        return await list_tranches(office.connection, office.jurisdiction)

    rows = [
        (one.tranche_id, one.pool, one.opens_at, yuan(one.amount_fen), one.document_no, one.state)
        for one in act(work)
    ]
    print_table(("tranche", "pool", "opens at", "yuan", "document", "state"), rows)


@tranches.command("withdraw")
def tranche_withdraw(
    pool: Pool, tranche_id: Annotated[UUID, typer.Argument(metavar="TRANCHE_ID")]
) -> None:
    """Take back a tranche that is still planned."""

    async def work(office: Office) -> None:
        found = await withdraw(office, pool, tranche_id)
        if found is None:
            raise Misconfigured(f"{pool} has no tranche {tranche_id}.")
        if found.state != "withdrawn":
            raise Misconfigured("It has opened: take the money back with `butie budget adjust`.")

    act(work)
    typer.echo("Withdrawn.", err=True)


def _pools() -> set[str]:
    settings = Settings()
    book = read_book(settings.jurisdiction, settings.policies_dir)
    return {scheme for policy in book.policies for scheme in policy.schemes}


def _no_such(pool: str) -> Misconfigured:
    return Misconfigured(f"{pool} is no pool: there are {', '.join(sorted(_pools()))}.")


def _instant(text: str) -> datetime:
    try:
        return parse_instant(WITHOUT_SECONDS.sub(r"\1:00\2", text))
    except ValueError:
        raise Misconfigured(
            f"--at {text}: write an instant with its zone, like 2025-07-01T00:00+08:00."
        ) from None
