"""`butie policy`: what the rules are, how sure we are of them, and what is still to confirm."""

from datetime import date
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.clock import Clock
from service.config import Settings
from service.core.assumptions import (
    Assumption,
    ConfirmationError,
    assumptions,
    unconfirmed,
)
from service.core.calendar import business_day
from service.core.money import percent, yuan
from service.core.policy import Category, Fact, Policy, PolicyBook, Quota
from service.core.policy_file import PolicyFileError
from service.policies import read_book

app = typer.Typer(name="policy", help="The rules in force.", no_args_is_help=True)

BASES = {"stated": "S", "adopted": "A", "assumed": "?"}


@app.command()
def show(
    on: Annotated[str | None, typer.Option(metavar="DAY", help="YYYY-MM-DD; today")] = None,
) -> None:
    """Show the policy in force on a day: rates, caps, limits, quotas and where they stand."""
    day = _day(on)
    settings = Settings()
    policy = _book(settings).on(day)
    if policy is None:
        _refuse(f"No policy is in force in {settings.jurisdiction} on {day}.")
    _print_policy(policy)


@app.command("assumptions")
def list_assumptions(
    lines: Annotated[
        bool, typer.Option("--lines", help="lines that confirm what is not confirmed yet")
    ] = False,
) -> None:
    """List every value that no source gives, and whether the operator has confirmed it."""
    settings = Settings()
    book = _book(settings)
    open_ones = _unconfirmed(settings, book)
    if lines:
        for one in open_ones:
            typer.echo(f"{one.confirmation}  # {one.note}")
    else:
        _print_assumptions(assumptions(book), open_ones)


def _day(text: str | None) -> date:
    if text is None:
        return business_day(Clock().now())
    try:
        return date.fromisoformat(text)
    except ValueError:
        _refuse(f"{text} is not a day: write it as 2025-06-18.")


def _book(settings: Settings) -> PolicyBook:
    try:
        return read_book(settings.jurisdiction, settings.policies_dir)
    except PolicyFileError as error:
        _refuse(str(error))


def _unconfirmed(settings: Settings, book: PolicyBook) -> list[Assumption]:
    path = settings.confirmations
    try:
        text = path.read_text(encoding="utf-8") if path else ""
        return unconfirmed(book, text, str(path))
    except (OSError, UnicodeDecodeError) as fault:
        _refuse(f"The confirmations in {path} cannot be read: {fault}")
    except ConfirmationError as error:
        _refuse(str(error))


def _refuse(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(2)


def _print_policy(policy: Policy) -> None:
    console = Console()
    mark = _Marks(policy)
    days = f"{policy.in_force.from_on.text} to {policy.in_force.to_on.text}"
    console.print(f"[bold]{policy.zh}[/bold]  {policy.id}, {days} {mark(policy.in_force.to_on)}")
    for scheme in policy.schemes.values():
        table = Table(title=f"{scheme.zh}  {scheme.en}", title_justify="left")
        for heading in ("category", "subsidy", "cap, yuan", "conditions", "per person"):
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


def _row(category: Category, mark: _Marks) -> tuple[str, str, str, str, str]:
    includes = f"（含{'、'.join(category.includes)}）" if category.includes else ""
    cap = category.cap_fen
    return (
        f"{category.zh}{includes} {mark(category.covered)}\n[dim]{category.id}[/dim]",
        "\n".join(_subsidies(category, mark)),
        f"{yuan(cap.value)} {mark(cap)}" if cap else "",
        "\n".join(_conditions(category, mark)),
        _quota(category.quota, mark),
    )


def _subsidies(category: Category, mark: _Marks) -> list[str]:
    tiers = [
        f"from {yuan(tier.from_fen.value)} {mark(tier.from_fen)}: "
        f"{yuan(tier.sum_fen.value)} {mark(tier.sum_fen)}"
        for tier in category.tiers
    ]
    grades = [
        f"{'no grade' if grade == 'none' else f'grade {grade}'}: {percent(rate.value)} {mark(rate)}"
        for grade, rate in category.grades.items()
    ]
    flat = category.rate_bp
    rest = [f"{'else: ' if grades else ''}{percent(flat.value)} {mark(flat)}"] if flat else []
    return tiers + grades + rest


def _conditions(category: Category, mark: _Marks) -> list[str]:
    conditions = []
    if limit := category.price_max_fen:
        conditions.append(f"price up to {yuan(limit.value)} {mark(limit)}")
    if category.age_min:
        conditions.append(f"{category.age_min.value} or older {mark(category.age_min)}")
    if category.from_on.id != "in_force/from_on":
        conditions.append(f"from {category.from_on.text} {mark(category.from_on)}")
    if category.to_on.id != "in_force/to_on":
        conditions.append(f"until {category.to_on.text} {mark(category.to_on)}")
    if old := category.trade_in:
        conditions.append(f"trade-in: {old.kind}")
        if old.owned_before_on:
            before = old.owned_before_on
            conditions.append(f"owned before {before.text} {mark(before)}")
        if old.quota:
            conditions.append(f"each old one: {_quota(old.quota, mark)}")
    return conditions


def _quota(quota: Quota, mark: _Marks) -> str:
    amount = f"{yuan(quota.limit.value)} yuan" if quota.unit == "fen" else str(quota.limit.value)
    period = "a year" if quota.period == "calendar_year" else "in all"
    beyond = (
        f", beyond: {quota.over_limit.text} {mark(quota.over_limit)}" if quota.over_limit else ""
    )
    return f"{amount} {period} {mark(quota.limit)}{beyond}"


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
    console.print("\nS stated in, A adopted from the document numbered below; ? assumed:")
    console.print("`butie policy assumptions` says what is not known.")
    for number, source in enumerate(policy.sources.values(), start=1):
        parts = (source.name, source.number, source.issued)
        console.print(f"{number:2} " + escape(" ".join(part for part in parts if part)))


def _print_assumptions(assumed: tuple[Assumption, ...], open_ones: list[Assumption]) -> None:
    table = Table("id", "value", "what is not known", "confirmed")
    for one in assumed:
        confirmed = "[yellow]no[/yellow]" if one in open_ones else "yes"
        table.add_row(one.id, one.value, escape(one.note), confirmed)
    console = Console()
    console.print(table)
    console.print(f"{len(open_ones)} of {len(assumed)} are not confirmed.")
