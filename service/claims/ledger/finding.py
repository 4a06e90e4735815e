"""Finding claims: newest first, in pages that stay right while claims arrive.

A page ends at a claim's id, and the next one begins below it. Ids are UUIDv7, so their order
is that of time, and a time is a range of ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from service.claims.claim import Claim
from service.claims.ledger.stored import claims_by_id

PAGE_MAX = 200
LAST_ID = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which claims: all that is given must fit. `from_at` counts in, `until_at` does not."""

    order_no: str | None = None
    serial_no: str | None = None
    state: str | None = None
    from_at: datetime | None = None
    until_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some claims, newest first; `next_before` is where the next page begins, if there is one."""

    claims: list[Claim]
    next_before: UUID | None


async def find_claims(
    connection: asyncpg.Connection,
    jurisdiction: str,
    retailer_id: str,
    wanted: Wanted,
    *,
    before: UUID | None,
    limit: int,
) -> Page:
    """A page of the retailer's own claims. Raises asyncpg's errors."""
    statement, arguments = page_query(jurisdiction, retailer_id, wanted, before, limit + 1)
    ids = [row["claim_id"] for row in await connection.fetch(statement, *arguments)]
    shown = ids[:limit]
    found = await claims_by_id(
        connection, jurisdiction, [(retailer_id, claim_id) for claim_id in shown]
    )
    claims = [found[retailer_id, claim_id] for claim_id in shown]
    return Page(claims, shown[-1] if len(ids) > limit else None)


def page_query(
    jurisdiction: str, retailer_id: str, wanted: Wanted, before: UUID | None, rows_max: int
) -> tuple[str, Sequence[object]]:
    """The statement that finds the ids, and its arguments. A filter that is not given does not
    stand in it, so that each combination has its own plan and index."""
    conditions = ["c.jurisdiction = $1", "c.retailer_id = $2"]
    arguments: list[object] = [jurisdiction, retailer_id]

    def given(condition: str, value: object) -> None:
        arguments.append(value)
        conditions.append(condition.format(f"${len(arguments)}"))

    if wanted.order_no is not None:
        given("c.order_no = {}", wanted.order_no)
    if wanted.serial_no is not None:
        # UNION, not OR: each half goes by its own index.
        given(
            "c.claim_id IN (SELECT claim_id FROM claim_line WHERE serial_no = {0}"
            " UNION SELECT claim_id FROM claim_line WHERE imei = {0})",
            wanted.serial_no.upper(),
        )
    if wanted.state is not None:
        # The state stands in the text, not in an argument: the index of those that are not
        # confirmed is partial, and a plan must know which it is.
        assert wanted.state.isalpha(), "Bug! A state that nobody checked."
        conditions.append(f"c.state = '{wanted.state}'")
    if wanted.from_at is not None:
        given("c.claim_id >= {}", first_id(wanted.from_at))
    until = [wanted.until_at and first_id(wanted.until_at), before]
    given("c.claim_id < {}", min((one for one in until if one), default=LAST_ID))
    # Only our own words are in it.
    statement = f"SELECT c.claim_id FROM claim AS c WHERE {' AND '.join(conditions)}"  # noqa: S608
    statement += f" ORDER BY c.claim_id DESC LIMIT {rows_max:d}"
    return statement, arguments


def first_id(instant: datetime) -> UUID:
    """The lowest claim id of an instant: a UUIDv7 begins with its milliseconds."""
    since_epoch = instant - datetime.fromtimestamp(0, tz=instant.tzinfo)
    return UUID(int=(since_epoch // timedelta(milliseconds=1)) << 80)
