"""Tranches: parts of a budget that open by themselves on their day."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.core.calendar import SHANGHAI, business_day
from service.db.acts import Office
from service.db.engine import driver
from service.db.tables import tranche
from service.pools.budgets import open_pool

# How many one pass opens; the next pass comes in half a second.
OPEN_MAX = 50

_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_OPEN_SQL = (Path(__file__).parent / "open_tranches.sql").read_text()


@dataclass(frozen=True, slots=True)
class Tranche:
    """A part of a budget. `opens_at` is when it is released; amounts in fen."""

    tranche_id: UUID
    pool: str
    opens_at: datetime
    amount_fen: int
    document_no: str
    state: str  # planned, opened, withdrawn
    ended_at: datetime | None


async def plan(
    office: Office,
    pool: str,
    opens_at: datetime,
    amount_fen: int,
    document_no: str,
    known_pools: Collection[str],
) -> Tranche | None:
    """Plan a tranche; one whose time has come opens within a second. None: no such pool.

    A repeat finds the first: of one paper, a pool gets the same sum at the same time only once.
    """
    if pool not in known_pools:
        return None
    await open_pool(office.connection, office.jurisdiction, pool)
    await office.connection.execute(_LOCK, {"name": f"{office.jurisdiction}:tranche:{pool}"})
    same = sa.select(*_COLUMNS).where(
        tranche.c.jurisdiction == office.jurisdiction,
        tranche.c.pool == pool,
        tranche.c.opens_at == opens_at,
        tranche.c.amount_fen == amount_fen,
        tranche.c.document_no == document_no,
        tranche.c.state != "withdrawn",
    )
    if (row := (await office.connection.execute(same)).first()) is not None:
        return _tranche(row)
    made = Tranche(
        uuid4(), pool, opens_at.astimezone(SHANGHAI), amount_fen, document_no, "planned", None
    )
    await office.connection.execute(
        sa.insert(tranche).values(
            jurisdiction=office.jurisdiction,
            tranche_id=made.tranche_id,
            pool=pool,
            opens_at=opens_at,
            amount_fen=amount_fen,
            document_no=document_no,
            state="planned",
            planned_at=office.now,
        )
    )
    await office.record("tranche.plan", "tranche", str(made.tranche_id), after=_shown(made))
    return made


async def withdraw(office: Office, pool: str, tranche_id: UUID) -> Tranche | None:
    """Take a planned tranche back; the answer's state tells whether it was still planned. None:
    no such tranche of the pool."""
    this = sa.and_(
        tranche.c.jurisdiction == office.jurisdiction,
        tranche.c.tranche_id == tranche_id,
        tranche.c.pool == pool,
    )
    taken = await office.connection.execute(
        sa.update(tranche)
        .where(this, tranche.c.state == "planned")
        .values(state="withdrawn", ended_at=office.now)
    )
    row = (await office.connection.execute(sa.select(*_COLUMNS).where(this))).one_or_none()
    if row is None:
        return None
    found = _tranche(row)
    if taken.rowcount:
        await office.record(
            "tranche.withdraw",
            "tranche",
            str(tranche_id),
            before={"state": "planned"},
            after={"state": "withdrawn"},
        )
    return found


async def list_tranches(
    connection: AsyncConnection, jurisdiction: str, pool: str | None = None
) -> Sequence[Tranche]:
    """The newest thousand tranches of a pool, or of all, by their time."""
    query = sa.select(*_COLUMNS).where(tranche.c.jurisdiction == jurisdiction)
    if pool is not None:
        query = query.where(tranche.c.pool == pool)
    query = query.order_by(tranche.c.opens_at.desc(), tranche.c.tranche_id).limit(1000)
    return [_tranche(row) for row in await connection.execute(query)][::-1]


async def open_due(engine: AsyncEngine, jurisdiction: str, now: datetime) -> int:
    """Open what is due, each tranche exactly once however many do so at a time; returns how
    many. Raises LedgerAway."""
    async with driver(engine) as connection:
        opened = await connection.fetchval(
            _OPEN_SQL, jurisdiction, now, business_day(now), OPEN_MAX
        )
    return int(opened)


_COLUMNS = [tranche.c[name] for name in Tranche.__dataclass_fields__]


def _tranche(row: sa.Row[tuple[object, ...]]) -> Tranche:
    return Tranche(
        *(one.astimezone(SHANGHAI) if isinstance(one, datetime) else one for one in row)  # type: ignore[arg-type]
    )


def _shown(made: Tranche) -> dict[str, object]:
    return {
        "pool": made.pool,
        "opens_at": made.opens_at.isoformat(),
        "amount_fen": made.amount_fen,
        "document_no": made.document_no,
    }
