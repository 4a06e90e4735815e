"""`butie retailer`, `butie store`, `butie key`: enrol callers. `butie acts`: list what was done."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.progress import track

from service.cli.arguments import printable
from service.cli.ledger import act
from service.cli.tables import print_table
from service.db.acts import ActContext, read_acts
from service.db.tables import api_key
from service.db.tables import retailer as retailer_table
from service.db.tables import store as store_table
from service.retailers.enrol import (
    EnrolledKind,
    EnrolledState,
    NewStore,
    NotEnrolled,
    add_retailer,
    add_stores,
    set_state,
    taken_store_ids,
)
from service.retailers.issue import create_key, revoke_key, rotate_key
from service.retailers.keys import ROLES, NewKey
from service.retailers.stores_csv import BadStoreRow, UnreadableFile, read_stores

retailers = typer.Typer(name="retailer", help="Retailers.", no_args_is_help=True)
stores = typer.Typer(name="store", help="Stores of retailers.", no_args_is_help=True)
keys = typer.Typer(name="key", help="API keys.", no_args_is_help=True)

# Large enough to be quick, small enough for the progress bar to move.
STORES_PER_STEP = 100

ReasonOption = Annotated[str, typer.Option(help="why; it goes on record")]
RetailerIdArgument = Annotated[str, typer.Argument(metavar="RETAILER_ID")]
StoreIdArgument = Annotated[str, typer.Argument(metavar="STORE_ID")]
KeyIdArgument = Annotated[str, typer.Argument(metavar="KEY_ID")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="only say what is wrong")]
StoresFileArgument = Annotated[Path, typer.Argument(help="CSV, UTF-8: store_id,name,town")]


@retailers.command("add")
def retailer_add(
    retailer_id: RetailerIdArgument,
    uscc: Annotated[str, typer.Option(help="unified social credit code, 18 characters")],
    name: Annotated[str, typer.Option()],
    stores_file: Annotated[
        Path | None, typer.Option("--stores", help="CSV of its stores: store_id,name,town")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Enrol a retailer, with --stores also its stores. All are enrolled, or none."""

    async def work(context: ActContext) -> int:
        await add_retailer(context, retailer_id=retailer_id, uscc_number=uscc, name=printable(name))
        return await _import(context, retailer_id, stores_file) if stores_file else 0

    _say(f"Enrolled {retailer_id} with {_work(work, dry_run)} stores.")


@retailers.command("list")
def retailer_list() -> None:
    """List all retailers."""
    _show(retailer_table, ("retailer_id", "uscc", "name", "state", "created_at"))


@retailers.command("suspend")
def retailer_suspend(retailer_id: RetailerIdArgument, reason: ReasonOption) -> None:
    """Refuse a retailer's claims; every worker does so within seconds."""
    _set_state("retailer", retailer_id, "suspended", reason)


@retailers.command("resume")
def retailer_resume(retailer_id: RetailerIdArgument, reason: ReasonOption) -> None:
    """Accept a retailer's claims again."""
    _set_state("retailer", retailer_id, "active", reason)


@stores.command("add")
def store_add(
    store_id: StoreIdArgument,
    retailer: Annotated[str, typer.Option(help="the retailer's id")],
    name: Annotated[str, typer.Option()],
    town: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Enrol a store."""

    async def work(context: ActContext) -> None:
        await add_stores(
            context, retailer, [NewStore(store_id, printable(name), town and printable(town))]
        )

    act(work)
    _say(f"Enrolled store {store_id}.")


@stores.command("import")
def store_import(
    file: StoresFileArgument,
    retailer: Annotated[str, typer.Option(help="the retailer's id")],
    dry_run: DryRunOption = False,
) -> None:
    """Enrol all stores of a CSV file, or none."""

    async def work(context: ActContext) -> int:
        return await _import(context, retailer, file)

    _say(f"Enrolled {_work(work, dry_run)} stores.")


@stores.command("list")
def store_list(
    retailer: Annotated[str | None, typer.Option(help="only this retailer's")] = None,
) -> None:
    """List stores."""
    columns = ("store_id", "retailer_id", "name", "town", "state", "created_at")
    _show(store_table, columns, retailer)


@stores.command("suspend")
def store_suspend(store_id: StoreIdArgument, reason: ReasonOption) -> None:
    """Refuse a store's claims; every worker does so within seconds."""
    _set_state("store", store_id, "suspended", reason)


@stores.command("resume")
def store_resume(store_id: StoreIdArgument, reason: ReasonOption) -> None:
    """Accept a store's claims again."""
    _set_state("store", store_id, "active", reason)


@keys.command("create")
def key_create(
    role: Annotated[str, typer.Option(help="pos, finance, bureau or admin")],
    label: Annotated[str, typer.Option(help="the owner, shown in lists")],
    retailer: Annotated[str | None, typer.Option(help="the retailer of a pos key")] = None,
) -> None:
    """Make a key. Its secret is shown once."""

    async def work(context: ActContext) -> NewKey:
        if role not in ROLES:
            raise NotEnrolled("unknown_role", f"The role is one of {', '.join(ROLES)}.")
        return await create_key(context, role=role, retailer_id=retailer, label=printable(label))

    _show_secret(act(work))


@keys.command("list")
def key_list(
    retailer: Annotated[str | None, typer.Option(help="only this retailer's")] = None,
) -> None:
    """List keys, without secrets."""
    columns = ("key_id", "retailer_id", "label", "scopes", "expires_at", "revoked_at")
    _show(api_key, (*columns, "last_used_at"), retailer)


@keys.command("rotate")
def key_rotate(
    key_id: KeyIdArgument,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=720, help="how long the old key stays valid")
    ] = 24,
) -> None:
    """Replace a key by a new one. The old one stays valid for --overlap-hours."""

    async def work(context: ActContext) -> NewKey:
        key = await rotate_key(context, key_id, timedelta(hours=overlap_hours))
        if key is None:
            raise NotEnrolled("not_found", f"There is no key {key_id}.")
        return key

    _show_secret(act(work))


@keys.command("revoke")
def key_revoke(key_id: KeyIdArgument, reason: ReasonOption) -> None:
    """End a key; every worker refuses it within seconds."""

    async def work(context: ActContext) -> None:
        if not await revoke_key(context, key_id, reason):
            raise NotEnrolled("not_found", f"There is no key {key_id}.")

    act(work)
    _say(f"{key_id} has ended.")


def acts(limit: Annotated[int, typer.Option(min=1, max=1000)] = 50) -> None:
    """Show what was done to retailers, stores, keys and budgets, newest first."""

    async def work(context: ActContext) -> Sequence[Any]:
        return await read_acts(
            context.connection, context.jurisdiction, before_no=None, limit=limit
        )

    rows = [
        (row.act_no, row.at, row.actor, row.act, row.subject_id, row.before, row.after)
        for row in act(work)
    ]
    print_table(("act_no", "at", "actor", "act", "subject", "before", "after"), rows)


# ----------------------------------------------------------------------------------------


async def _import(context: ActContext, retailer_id: str, file: Path) -> int:
    """Enrol the file's stores in chunks of one transaction.
    Raises NotEnrolled with every bad row."""
    try:
        good, bad = read_stores(file)
    except UnreadableFile as error:
        raise NotEnrolled("unreadable", str(error)) from None
    taken = await taken_store_ids(context, [store.store_id for _, store in good])
    bad += [
        BadStoreRow(line, f"store_id {store.store_id} is enrolled already")
        for line, store in good
        if store.store_id in taken
    ]
    if bad:
        lines = (f"  line {row.line}: {row.why}" for row in sorted(bad, key=lambda r: r.line))
        raise NotEnrolled("bad_rows", f"{file} is not enrolled:\n" + "\n".join(lines))
    stores = [store for _, store in good]
    chunks = [stores[n : n + STORES_PER_STEP] for n in range(0, len(stores), STORES_PER_STEP)]
    for chunk in track(chunks, "Enrolling", console=Console(stderr=True)):
        await add_stores(context, retailer_id, chunk)
    return len(stores)


class _NothingWrong(Exception):
    """Ends a dry run, and with it the transaction: nothing stays in the ledger."""


def _work(work: Callable[[ActContext], Awaitable[int]], dry_run: bool) -> int:
    """The count of the stores that the work enrolled; a dry run ends the command here."""

    async def and_end(context: ActContext) -> int:
        raise _NothingWrong(f"Nothing is wrong: {await work(context)} stores. Nothing was kept.")

    try:
        return act(and_end if dry_run else work)
    except _NothingWrong as outcome:
        _say(str(outcome))
        raise typer.Exit from None


def _set_state(kind: EnrolledKind, subject_id: str, state: EnrolledState, reason: str) -> None:
    async def work(context: ActContext) -> None:
        if not await set_state(context, kind, subject_id, state, printable(reason)):
            raise NotEnrolled("not_found", f"There is no {kind} {subject_id}.")

    act(work)
    _say(f"{kind} {subject_id} is {state}.")


def _show(table: sa.Table, columns: Sequence[str], retailer_id: str | None = None) -> None:
    async def work(context: ActContext) -> Sequence[Any]:
        query = sa.select(*(table.c[name] for name in columns)).where(
            table.c.jurisdiction == context.jurisdiction
        )
        if retailer_id is not None:
            query = query.where(table.c.retailer_id == retailer_id)
        rows = await context.connection.execute(query.order_by(list(table.primary_key)[1]))
        return rows.all()

    print_table(columns, act(work))


def _show_secret(key: NewKey) -> None:
    _say(f"{key.key_id}; its secret, shown only now:")
    typer.echo(key.secret)


def _say(text: str) -> None:
    typer.echo(text, err=True)
