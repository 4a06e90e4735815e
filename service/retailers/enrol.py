"""Enrols and suspends retailers and their stores. Each act is in the caller's transaction, with its
record."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from stdnum.cn import uscc
from stdnum.exceptions import ValidationError as InvalidNumber

from service.db.acts import ActContext
from service.db.tables import retailer, store

EnrolledState = Literal["active", "suspended"]
EnrolledKind = Literal["retailer", "store"]

# Ids are used in paths, files and checkouts.
GOOD_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
ID_WORDS = "1 to 32 letters, digits, - or _"


class NotEnrolled(Exception):
    """The act is not possible. The text says why; `code` is the problem's code in the API."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class NewStore:
    """A store as it is enrolled."""

    store_id: str
    name: str
    town: str | None


def good_uscc(number: str) -> str:
    """The unified social credit code (GB 32100) in its normal form. Raises ValueError."""
    try:
        return uscc.validate(number)
    except InvalidNumber:
        raise ValueError("18 characters with a check digit (GB 32100)") from None


def _check_id(text: str) -> None:
    if not GOOD_ID.fullmatch(text):
        raise NotEnrolled("invalid_id", f"{text!r}: an id is {ID_WORDS}.")


async def add_retailer(
    context: ActContext, *, retailer_id: str, uscc_number: str, name: str
) -> None:
    """Enrol a retailer. Raises NotEnrolled when its id or USCC is taken, or the USCC is wrong."""
    _check_id(retailer_id)
    try:
        number = good_uscc(uscc_number)
    except ValueError as error:
        raise NotEnrolled("invalid_uscc", f"The USCC is not valid: {error}.") from None
    row = {"retailer_id": retailer_id, "uscc": number, "name": name, "state": "active"}
    try:
        async with context.connection.begin_nested():
            await context.connection.execute(
                sa.insert(retailer).values(
                    jurisdiction=context.jurisdiction, created_at=context.now, **row
                )
            )
    except IntegrityError:
        raise NotEnrolled(
            "already_exists", f"A retailer {retailer_id}, or one of this USCC, is enrolled already."
        ) from None
    await context.record("retailer.add", "retailer", retailer_id, after=row)


async def add_stores(context: ActContext, retailer_id: str, stores: Sequence[NewStore]) -> None:
    """Enrol stores of a retailer, all or none. Raises NotEnrolled."""
    for new in stores:
        _check_id(new.store_id)
    rows = [asdict(new) | {"retailer_id": retailer_id, "state": "active"} for new in stores]
    fixed = {"jurisdiction": context.jurisdiction, "created_at": context.now}
    try:
        async with context.connection.begin_nested():
            await context.connection.execute(sa.insert(store), [fixed | row for row in rows])
    except IntegrityError as error:
        if "store_retailer_fkey" in str(error.orig):
            raise NotEnrolled(
                "unknown_retailer", f"No retailer {retailer_id} is enrolled."
            ) from None
        raise NotEnrolled("already_exists", "A store of this id is enrolled already.") from None
    await context.record_each("store.add", "store", {row["store_id"]: row for row in rows})


async def set_state(
    context: ActContext, kind: EnrolledKind, subject_id: str, state: EnrolledState, reason: str
) -> bool:
    """Suspend or resume a retailer or a store. A repeat changes nothing. Returns False when there
    is no such retailer or store."""
    table, key = (retailer, "retailer_id") if kind == "retailer" else (store, "store_id")
    this = sa.and_(table.c.jurisdiction == context.jurisdiction, table.c[key] == subject_id)
    before = await context.connection.scalar(sa.select(table.c.state).where(this).with_for_update())
    if before is None:
        return False
    if before != state:
        await context.connection.execute(sa.update(table).where(this).values(state=state))
        act = f"{kind}.{'suspend' if state == 'suspended' else 'resume'}"
        await context.record(
            act,
            kind,
            subject_id,
            before={"state": before},
            after={"state": state, "reason": reason},
        )
    return True


async def taken_store_ids(context: ActContext, store_ids: Sequence[str]) -> set[str]:
    """Those of the ids that are enrolled already."""
    query = sa.select(store.c.store_id).where(
        store.c.jurisdiction == context.jurisdiction, store.c.store_id.in_(store_ids)
    )
    return {row.store_id for row in await context.connection.execute(query)}


def page(
    table: sa.Table, key: sa.Column[Any], jurisdiction: str, after: str | None, limit: int
) -> sa.Select[Any]:
    """At most `limit` rows of the jurisdiction, in the order of `key`; only those after `after`, if
    it is given."""
    query = sa.select(table).where(table.c.jurisdiction == jurisdiction)
    if after is not None:
        query = query.where(key > after)
    return query.order_by(key).limit(limit)
