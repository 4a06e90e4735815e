"""`butie policy replay`: what another policy would have cost."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.cli.books import books_of, days, progress
from service.cli.faults import faults_reported
from service.cli.ledger import engines_of
from service.cli.tables import print_table
from service.config import Misconfigured, Settings
from service.core.money import yuan
from service.core.policy import Policy
from service.policies import SHIPPED, read_book
from service.replay.lines import LineFiles, draft
from service.replay.period import ReplayPeriod, laid_on
from service.replay.picture import picture
from service.replay.reader import PolicySource
from service.replay.report import ReplayRequest, replay
from service.replay.table import table_csv
from service.replay.tally import Cell, ReplayTally, extremes
from service.replay.words import REASONS, UNSEEN, Names, grade_name

EXTREMES_MAX = 5

From = Annotated[str, typer.Option("--from", metavar="DAY", help="first day of sale")]
To = Annotated[str, typer.Option("--to", metavar="DAY", help="last day of sale, included")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="schemes.appliances.cap_fen=150000"),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="POOL=FEN", help="instead of the ledger's, for the period"),
]


def replay_command(
    file: Annotated[Path, typer.Argument(help="a policy file, or the name of one in force")],
    from_on: From,
    to_on: To,
    sets: Sets = None,
    budgets: Budgets = None,
    table: Annotated[Path | None, typer.Option(help="a csv of all sums")] = None,
    svg: Annotated[Path | None, typer.Option(help="a picture")] = None,
    csv: Annotated[Path | None, typer.Option(help="every line")] = None,
    parquet: Annotated[Path | None, typer.Option(help="every line")] = None,
) -> None:
    """Price the claims of a period anew under another policy. Reads only."""
    with faults_reported(exit_code=2):
        _check_distinct({"--table": table, "--svg": svg, "--csv": csv, "--parquet": parquet})
        settings = Settings()
        first, last = days(from_on, to_on)
        changes = _pairs(sets or (), "--set", "schemes.appliances.cap_fen=150000")
        source = _source(settings, file, changes)
        policy = source.read()
        if policy.jurisdiction != settings.jurisdiction:
            raise Misconfigured(
                f"{file} is for the jurisdiction {policy.jurisdiction}, and BUTIE_JURISDICTION is "
                f"{settings.jurisdiction}."
            )
        book = read_book(settings.jurisdiction, settings.policies_dir)
        request = ReplayRequest(
            book, policy, source, laid_on(policy, first, last), _budgets(budgets or (), policy)
        )
        names = Names(policy, book)
        varied = _varied(changes, request.budgets_fen)
        with draft(table) as sums, draft(svg) as drawing:
            tally = _run(settings, request, csv, parquet)
            if sums:
                sums.write(table_csv(tally))
            if drawing:
                drawing.write(picture(tally, names, request.period, varied))
    _print(tally, request, names, varied)


def _check_distinct(files: Mapping[str, Path | None]) -> None:
    """Raises Misconfigured when two options name one file."""
    options: dict[Path, str] = {}
    for option, path in files.items():
        if path is None:
            continue
        other = options.setdefault(path.resolve(), option)
        if other != option:
            raise Misconfigured(f"{other} and {option} are one file, {path}: name another.")


def _source(settings: Settings, file: Path, changes: dict[str, str]) -> PolicySource:
    """Raises Misconfigured."""
    path = file if file.exists() else (settings.policies_dir or SHIPPED) / file
    try:
        return PolicySource(path.read_text(encoding="utf-8"), path.name, changes)
    except (OSError, UnicodeDecodeError) as fault:
        raise Misconfigured(f"{file} cannot be read: {fault}.") from None


def _pairs(texts: Sequence[str], option: str, example: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise Misconfigured(f"{option} {text}: write it like {option} {example}.")
        if name in pairs:
            raise Misconfigured(f"{option} {name} is given twice.")
        pairs[name] = value
    return pairs


def _varied(changes: Mapping[str, str], budgets_fen: Mapping[str, int]) -> list[str]:
    return [
        *(f"{name}={value}" for name, value in changes.items()),
        *(f"{pool}: {yuan(fen)} yuan" for pool, fen in budgets_fen.items()),
    ]


def _budgets(texts: Sequence[str], policy: Policy) -> dict[str, int]:
    budgets = {}
    for pool, fen in _pairs(texts, "--budget", "appliances=2000000000").items():
        if pool not in policy.schemes:
            known = ", ".join(policy.schemes)
            raise Misconfigured(f"--budget {pool}: the policy's pools are {known}.")
        if not (fen.isascii() and fen.isdigit() and len(fen) <= 15):
            raise Misconfigured(f"--budget {pool}={fen}: an amount is a whole number of fen.")
        budgets[pool] = int(fen)
    return budgets


def _run(
    settings: Settings, request: ReplayRequest, csv: Path | None, parquet: Path | None
) -> ReplayTally:
    with draft(csv) as csv_file, draft(parquet) as parquet_file:
        files = LineFiles(csv_file, parquet_file)
        return asyncio.run(_replay(settings, request, files))


async def _replay(settings: Settings, request: ReplayRequest, files: LineFiles) -> ReplayTally:
    reading_url = settings.standby_url or engines_of(settings)[0]
    with progress() as bars:
        bar = bars.add_task("Replaying", total=None)
        async with books_of(settings) as books:
            return await replay(
                books,
                reading_url,
                request,
                files,
                lambda done, whole: bars.update(bar, completed=done, total=whole),
            )


# --- what is printed --------------------------------------------------------------------

_HEADINGS = ("lines", "granted", "refused", "refunded", "subsidy, yuan", "ledger, yuan",
             "difference", "sales, yuan")  # fmt: skip


def _print(tally: ReplayTally, request: ReplayRequest, names: Names, varied: Sequence[str]) -> None:
    typer.echo(_heading(request.policy, request.period, varied))
    _print_schemes(tally, names)
    by_reason = tally.total.refused
    print_table(
        ("refused because", "", "lines"),
        [
            (*REASONS[code], f"{by_reason[code]:,}")
            for code in sorted(by_reason, key=lambda code: (-by_reason[code], code))
        ],
        title="by reason",
    )
    by_category = tally.by(lambda key: (key.scheme, key.category, key.grade))
    print_table(
        ("category", "grade", *_HEADINGS),
        [
            (" ".join(names.category(category)), " ".join(grade_name(grade)), *_numbers(cell))
            for (_, category, grade), cell in by_category.items()
        ],
        title="by category and grade",
    )
    by_month = tally.by(lambda key: key.month)
    print_table(
        ("month", *_HEADINGS),
        [(f"{month:%Y-%m}", *_numbers(cell)) for month, cell in by_month.items()],
        title="by month",
    )
    _print_extremes(tally)
    for note in notes(tally, request):
        typer.echo(note)


def _heading(policy: Policy, period: ReplayPeriod, varied: Sequence[str]) -> str:
    moved = ""
    if period.years:
        many = "1 year" if abs(period.years) == 1 else f"{abs(period.years)} years"
        moved = f", as if each sale had been {many} {'later' if period.years > 0 else 'earlier'}"
    with_ = f" with {', '.join(varied)}" if varied else ""
    return f"{policy.id}{with_}: sales from {period.first} to {period.last}{moved}"


def _print_schemes(tally: ReplayTally, names: Names) -> None:
    rows: list[tuple[object, ...]] = []
    for scheme, cell in tally.by(lambda key: key.scheme).items():
        pool = tally.pools.get(scheme)
        money: tuple[str, ...] = ("", "", "")
        if pool:
            ran_out = f"{pool.ran_out_on}" if pool.ran_out_on else "no"
            money = (yuan(pool.budget_fen), yuan(pool.left_fen), ran_out)
        rows.append((" ".join((names.scheme(scheme)[0], scheme)), *_numbers(cell), *money))
    rows.append(("all", *_numbers(tally.total), "", "", ""))
    print_table(
        ("scheme", *_HEADINGS, "budget, yuan", "left", "ran out on"), rows, title="by scheme"
    )


def _numbers(cell: Cell) -> tuple[str, ...]:
    counts = (cell.lines - cell.ended, cell.granted, cell.refused.total(), cell.refunded)
    amounts = (cell.subsidy_fen, cell.booked_fen, cell.difference_fen, cell.sales_fen)
    return (*(f"{count:,}" for count in counts), *map(yuan, amounts))


def _print_extremes(tally: ReplayTally) -> None:
    total = tally.total
    same = total.booked - total.more - total.less
    typer.echo(f"{total.more:,} lines get more, {total.less:,} less, {same:,} the same.")
    differences = {name: retailer.difference_fen for name, retailer in tally.retailers.items()}
    gained, lost = extremes(differences, EXTREMES_MAX)
    if gained or lost:
        print_table(
            ("retailer", "difference, yuan"),
            [(name, yuan(fen)) for name, fen in (*gained, *lost)],
            title="the retailers that gain and lose most",
        )


def notes(tally: ReplayTally, request: ReplayRequest) -> list[str]:
    """What the reader must know about the figures."""
    total = tally.total
    sentences = [UNSEEN[1]]
    if total.ended:
        sentences.append(
            f"{total.ended:,} lines of holds that were cancelled or expired are in no sum."
        )
    if total.age_unproved:
        sentences.append(
            f"{total.age_unproved:,} lines need an age that the ledger does not know: they count "
            "as granted."
        )
    for pool, money in tally.pools.items():
        if money.budget_fen <= 0 and money.refused:
            sentences.append(
                f"{pool} has no money in the ledger, so all its lines are refused: give it some "
                f"with --budget {pool}=FEN."
            )
    in_force, period = request.policy.in_force, request.period
    if not (
        in_force.from_on.value <= period.moved(period.first)
        and period.moved(period.last) <= in_force.to_on.value
    ):
        sentences.append(
            f"{request.policy.id} is in force from {in_force.from_on.value} to "
            f"{in_force.to_on.value}: sales of other days are refused."
        )
    return sentences
