"""`butie policy`: what the rules are, how sure we are of them, and what is still to confirm."""

from datetime import date
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.cli.faults import faults_reported
from service.cli.replay import replay_command
from service.clock import Clock
from service.config import Misconfigured, Settings
from service.core.assumptions import (
    Assumption,
    assumptions,
    unconfirmed,
)
from service.core.calendar import business_day, parse_day
from service.core.fact import Fact
from service.core.money import percent
from service.core.policy import Category, Policy
from service.core.rules import registry
from service.core.rules.subject import Column
from service.policies import read_book
from service.wiring import read_confirmations

app = typer.Typer(name="policy", help="The rules in force.", no_args_is_help=True)
app.command("replay")(replay_command)

COLUMNS: tuple[Column, ...] = get_args(Column)
BASES = {"stated": "S", "adopted": "A", "assumed": "?"}


@app.command()
def show(
    on: Annotated[str | None, typer.Option(metavar="DAY", help="YYYY-MM-DD; today")] = None,
) -> None:
    """Show the policy of a day: rates, caps, limits, quotas, and their lines in the file."""
    with faults_reported(exit_code=2):
        day = _day(on)
        settings = Settings()
        policy = read_book(settings.jurisdiction, settings.policies_dir).on(day)
        if policy is None:
            raise Misconfigured(f"No policy is in force in {settings.jurisdiction} on {day}.")
        _print_policy(policy)


@app.command("assumptions")
def list_assumptions(
    lines: Annotated[
        bool, typer.Option("--lines", help="lines that confirm what is not confirmed yet")
    ] = False,
) -> None:
    """List every value that no source gives, and whether the operator has confirmed it."""
    with faults_reported(exit_code=2):
        settings = Settings()
        book = read_book(settings.jurisdiction, settings.policies_dir)
        left = unconfirmed(book, read_confirmations(settings), str(settings.confirmations))
        if lines:
            for assumption in left:
                typer.echo(f"{assumption.confirmation}  # {assumption.note}")
        else:
            _print_assumptions(assumptions(book), left)


def _day(text: str | None) -> date:
    if text is None:
        return business_day(Clock().now())
    try:
        return parse_day(text)
    except ValueError:
        raise Misconfigured(f"{text} is not a day: write it as 2025-06-18.") from None


def _print_policy(policy: Policy) -> None:
    console = Console()
    mark = _Marks(policy)
    from_on, to_on = policy.in_force.from_on, policy.in_force.to_on
    console.print(
        f"[bold]{policy.zh}[/bold]  {policy.id}, "
        f"{from_on.text} {mark(from_on)} to {to_on.text} {mark(to_on)}"
    )
    for scheme in policy.schemes.values():
        table = Table(title=f"{scheme.zh}  {scheme.en}", title_justify="left")
        for heading in ("category", *COLUMNS):
            table.add_column(heading, overflow="fold")
        for category in scheme.categories.values():
            table.add_row(*_row(category, mark))
        console.print(table)
    _print_whole(console, policy, mark)
    _print_sources(console, policy)


class _Marks:
    """Basis and source in a few letters: `S1` stated in source 1, `?` assumed."""

    def __init__(self, policy: Policy) -> None:
        self._numbers = {key: number for number, key in enumerate(policy.sources, start=1)}

    def __call__(self, fact: Fact[Any]) -> str:
        number = self._numbers[fact.source] if fact.source else ""
        style = "yellow" if fact.basis == "assumed" else "cyan"
        return f"[{style}]{BASES[fact.basis]}{number}[/{style}]"


def _row(category: Category, mark: _Marks) -> tuple[str, ...]:
    includes = f"（含{'、'.join(category.includes)}）" if category.includes else ""
    lines: dict[Column, list[str]] = {column: [] for column in COLUMNS}
    for cells in registry.CELLS:
        for column, line in cells(category, mark):
            lines[column].append(line)
    return (
        f"{category.zh}{includes} {mark(category.covered)}\n[dim]{category.id}[/dim]",
        *("\n".join(lines[column]) for column in COLUMNS),
    )


def _print_whole(console: Console, policy: Policy, mark: _Marks) -> None:
    funding = policy.funding
    shares = {
        "centre": funding.centre_bp,
        "province": funding.province_bp,
        "city": funding.city_bp,
        "district": funding.district_bp,
    }
    borne = ", ".join(f"{who} {percent(bp.value)} {mark(bp)}" for who, bp in shares.items())
    restores = policy.refund_restores_quota
    console.print(f"rounding to the fen: {policy.rounding.value} {mark(policy.rounding)}")
    console.print(f"a refund gives the right back: {restores.text} {mark(restores)}")
    console.print(f"borne by: {borne}")


def _print_sources(console: Console, policy: Policy) -> None:
    console.print(
        "\nS stated in, A adopted from the document of that number; "
        "? assumed (`butie policy assumptions`)"
    )
    sources = Table.grid(padding=(0, 1))
    for number, source in enumerate(policy.sources.values(), start=1):
        parts = (source.name, source.number, source.issued)
        sources.add_row(str(number), escape(" ".join(part for part in parts if part)))
    console.print(sources)


def _print_assumptions(assumed: tuple[Assumption, ...], left: list[Assumption]) -> None:
    table = Table(show_lines=True)
    for heading in ("id", "value", "what is not known", "confirmed"):
        table.add_column(heading, overflow="fold")
    for assumption in assumed:
        confirmed = "[yellow]no[/yellow]" if assumption in left else "yes"
        table.add_row(assumption.id, assumption.value, escape(assumption.note), confirmed)
    console = Console()
    console.print(table)
    console.print(f"{len(left)} of {len(assumed)} are not confirmed.")
