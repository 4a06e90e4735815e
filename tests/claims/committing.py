"""Claims made for the ledger alone, and the statement that `commit_claims` took the place of.

`one_statement.sql` committed a batch in one statement of WITH queries. It is the yardstick: what it
grants, refuses and writes, the function must, and both run side by side during an upgrade.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from service.claims.claim import LineDemand, PendingClaim, QuotaBooking, Seller
from service.claims.people.digests import Digester
from service.claims.prepare import pending_claim
from service.core.quote import quote
from service.policies import read_book
from service.pools.state import PoolState, pool_states
from tests.builders import item_json, make_checkout, serial
from tests.conftest import NOW

PLACE = "330402"
BOOK = read_book(PLACE)
ONE_STATEMENT = (Path(__file__).parent / "one_statement.sql").read_text()
DIGESTER = Digester("a key of the tests, of no use to anyone")


async def commit_by_one_statement(
    connection: asyncpg.Connection, arguments: Sequence[Any]
) -> tuple[set[UUID], list[PoolState]]:
    """As `commit.commit_claims`, by the former statement."""
    row = await connection.fetchrow(ONE_STATEMENT, *arguments)
    committed = set(row["committed"] or ())
    return {claim[0] for claim in arguments[1]} - committed, pool_states(row)


@dataclass(frozen=True)
class LinePlan:
    """What a line takes. Persons and serials are numbers; `limit` is that of the person's quota."""

    pool: str = "appliances"
    fen: int = 100
    serials: tuple[int, ...] = ()
    persons: tuple[int, ...] = ()
    limit: int = 1


@dataclass(frozen=True)
class ClaimPlan:
    key: str
    lines: tuple[LinePlan, ...] = (LinePlan(),)
    held: bool = False
    days_ago: int = 0


def planned_claim(plan: ClaimPlan, now: datetime = NOW) -> PendingClaim:
    """A claim of this plan with an id of its own. Its goods are air conditioners."""
    numbers = range(1, len(plan.lines) + 1)
    checkout = make_checkout(
        items=[item_json(line_no=n, serial_no=serial(n)) for n in numbers],
        order_no=plan.key,
        hold=plan.held,
    )
    priced = quote(BOOK, checkout, NOW)
    amounts = [
        replace(line, pool=spec.pool, subsidy_fen=spec.fen)
        for line, spec in zip(priced.lines, plan.lines, strict=True)
    ]
    claim = pending_claim(
        Seller("sandbox", "NH0001"),
        plan.key,
        DIGESTER.fingerprint(checkout),
        checkout,
        replace(priced, lines=tuple(amounts), subsidy_fen=sum(line.fen for line in plan.lines)),
        now - timedelta(days=plan.days_ago),
        hold_for=timedelta(minutes=15),
        digester=DIGESTER,
    )
    claim.claim_id = uuid7()
    claim.lines = tuple(_demands(plan))
    return claim


def _demands(plan: ClaimPlan) -> Iterator[LineDemand]:
    for number, line in enumerate(plan.lines, start=1):
        yield LineDemand(
            line_no=number,
            pool=line.pool,
            subsidy_fen=line.fen,
            serials=tuple(f"S{n}" for n in line.serials),
            quotas=tuple(
                QuotaBooking(
                    subject=b"%016d" % n,
                    kind="person",
                    quota="made",
                    period="2025",
                    amount=1,
                    limit=line.limit,
                    unit="items",
                    restored=True,
                )
                for n in line.persons
            ),
        )
