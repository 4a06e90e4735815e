"""Settlements: what a retailer is paid for a period, each entry settled once.

A draft takes the retailer's invoiced grants of the period and their refunds, and freezes them.
A refund that was booked before is in the draft and cancels out; one that comes while the draft
waits is netted when it is approved; one that comes after that is clawed back in the next. The
primary key of `settled_entry` keeps an entry from being settled twice.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from service.core.money import share_fen

State = Literal["drafted", "approved", "paid"]

LISTED_MAX = 200

# A grant is settled when its claim has an invoice.
INVOICED = "EXISTS (SELECT FROM invoice AS i WHERE i.claim_id = j.claim_id)"
UNSETTLED = """NOT EXISTS (
        SELECT FROM settled_entry AS s
        WHERE s.jurisdiction = j.jurisdiction AND s.entry_no = j.entry_no)"""
GRANTS = f"""
    SELECT j.entry_no, 'grant' AS part, j.claim_id, j.line_no, j.amount_fen FROM journal AS j
    WHERE j.jurisdiction = $1 AND j.retailer_id = $2 AND j.kind = 'grant'
        AND j.booked_on BETWEEN $3 AND $4 AND {INVOICED} AND {UNSETTLED}
"""  # noqa: S608
# Of the grants of this draft, whenever they came.
THEIR_REFUNDS = f"""
    SELECT j.entry_no, 'refund' AS part, j.claim_id, j.line_no, j.amount_fen FROM journal AS j
    JOIN grants AS g ON g.claim_id = j.claim_id AND g.line_no = j.line_no
    WHERE j.jurisdiction = $1 AND j.kind = 'refund' AND {UNSETTLED}
"""  # noqa: S608
# Of grants that an approved settlement has.
CLAW_BACKS = f"""
    SELECT j.entry_no, 'claw_back' AS part, j.claim_id, j.line_no, j.amount_fen FROM journal AS j
    JOIN settled_entry AS g ON g.claim_id = j.claim_id AND g.line_no = j.line_no
        AND g.part = 'grant'
    JOIN settlement AS t ON t.jurisdiction = g.jurisdiction
        AND t.settlement_id = g.settlement_id AND t.state <> 'drafted'
    WHERE j.jurisdiction = $1 AND j.retailer_id = $2 AND j.kind = 'refund' AND {UNSETTLED}
"""  # noqa: S608
FREEZE = "INSERT INTO settled_entry (jurisdiction, settlement_id, entry_no, part, claim_id,"
GATHER = f"""
    WITH grants AS ({GRANTS}), refunds AS ({THEIR_REFUNDS}), claw_backs AS ({CLAW_BACKS}),
    frozen AS (
        SELECT * FROM grants UNION ALL SELECT * FROM refunds UNION ALL SELECT * FROM claw_backs)
    {FREEZE} line_no, amount_fen)
    SELECT $1, $5, entry_no, part, claim_id, line_no, amount_fen FROM frozen
"""  # noqa: S608
GATHER_LATE = f"""
    WITH grants AS (
        SELECT claim_id, line_no FROM settled_entry
        WHERE jurisdiction = $1 AND settlement_id = $2 AND part = 'grant')
    {FREEZE} line_no, amount_fen)
    SELECT $1, $2, entry_no, part, claim_id, line_no, amount_fen FROM ({THEIR_REFUNDS}) AS late
"""  # noqa: S608
WORTH = f"""
    WITH grants AS ({GRANTS})
    SELECT coalesce(sum(amount_fen), 0)::bigint
    FROM (SELECT * FROM grants UNION ALL {THEIR_REFUNDS}) AS entry
"""  # noqa: S608
OPEN = """
    INSERT INTO settlement (
        jurisdiction, settlement_id, retailer_id, kind, from_on, to_on, state, entries,
        granted_fen, refunded_fen, clawed_back_fen, advanced_fen, net_fen, drafted_by, drafted_at)
    VALUES ($1, $2, $3, $4, $5, $6, 'drafted', 0, 0, 0, 0, 0, $7, $8, $9)
"""
ADD_UP = """
    UPDATE settlement AS t SET
        entries = e.entries, granted_fen = e.granted, refunded_fen = e.refunded,
        clawed_back_fen = e.clawed_back, advanced_fen = e.advanced,
        net_fen = e.granted + e.refunded + e.clawed_back - e.advanced
    FROM (
        SELECT count(*) AS entries,
            coalesce(sum(amount_fen) FILTER (WHERE part = 'grant'), 0)::bigint AS granted,
            coalesce(sum(amount_fen) FILTER (WHERE part = 'refund'), 0)::bigint AS refunded,
            coalesce(sum(amount_fen) FILTER (WHERE part = 'claw_back'), 0)::bigint AS clawed_back,
            (SELECT coalesce(sum(net_fen), 0)::bigint FROM settlement
                WHERE jurisdiction = $1 AND netted_in = $2) AS advanced
        FROM settled_entry WHERE jurisdiction = $1 AND settlement_id = $2
    ) AS e
    WHERE t.jurisdiction = $1 AND t.settlement_id = $2
"""
NET_ADVANCES = """
    UPDATE settlement SET netted_in = $3
    WHERE jurisdiction = $1 AND retailer_id = $2 AND kind = 'advance' AND state = 'paid'
        AND netted_in IS NULL
"""
# Whoever drafts or approves for a retailer comes alone; claims do not wait for it.
LOCK_RETAILER = """
    SELECT 1 FROM retailer WHERE jurisdiction = $1 AND retailer_id = $2 FOR NO KEY UPDATE
"""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Amounts in fen; refunds and claw-backs are negative, `advanced_fen` was paid before and is
    taken off. A negative `net_fen` is what the retailer has to pay back."""

    settlement_id: UUID
    retailer_id: str
    kind: Literal["final", "advance"]
    from_on: date
    to_on: date
    state: State
    entries: int
    granted_fen: int
    refunded_fen: int
    clawed_back_fen: int
    advanced_fen: int
    net_fen: int
    drafted_by: str
    drafted_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    paid_by: str | None
    paid_at: datetime | None
    payment_reference: str | None
    netted_in: UUID | None


@dataclass(frozen=True, slots=True)
class Act:
    """Who acts, and when."""

    key_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Period:
    """Grants booked from `from_on` to `to_on`, both inclusive, of one retailer."""

    retailer_id: str
    from_on: date
    to_on: date


@dataclass(frozen=True, slots=True)
class NoSuchRecord:
    """No such retailer or settlement."""


@dataclass(frozen=True, slots=True)
class NothingToSettle:
    """No invoiced entry of the period is left, or it nets to nothing that could be advanced."""


@dataclass(frozen=True, slots=True)
class AdvanceOutstanding:
    """The retailer's last advance was not netted yet."""


@dataclass(frozen=True, slots=True)
class SameKey:
    """Who drafted may not approve."""


@dataclass(frozen=True, slots=True)
class WrongState:
    """The settlement's state does not allow it."""

    state: State


Drafted = Settlement | NoSuchRecord | NothingToSettle | AdvanceOutstanding
Moved = Settlement | NoSuchRecord | SameKey | WrongState


class _GiveUp(Exception):
    """Ends the transaction without a trace."""


class Settlements:
    """Of one jurisdiction, over one connection. Each method is one transaction."""

    def __init__(self, connection: asyncpg.Connection, jurisdiction: str) -> None:
        self._connection = connection
        self._place = jurisdiction

    async def draft(self, period: Period, act: Act) -> Drafted:
        """Freeze all that is due for the period, and net what was advanced."""
        settlement_id = uuid7()
        try:
            async with self._connection.transaction():
                if not await self._alone(period.retailer_id):
                    return NoSuchRecord()
                await self._open(settlement_id, "final", period, 0, act)
                frozen = await self._connection.execute(
                    GATHER, self._place, *_arguments(period), settlement_id
                )
                if frozen == "INSERT 0 0":
                    raise _GiveUp
                await self._connection.execute(
                    NET_ADVANCES, self._place, period.retailer_id, settlement_id
                )
                await self._connection.execute(ADD_UP, self._place, settlement_id)
        except _GiveUp:
            return NothingToSettle()
        return await self._read(settlement_id)

    async def advance(self, period: Period, share_bp: int, act: Act) -> Drafted:
        """Draft the payment of a share, in basis points, of what is due now, before the entries
        themselves are settled."""
        settlement_id = uuid7()
        try:
            async with self._connection.transaction():
                if not await self._alone(period.retailer_id):
                    return NoSuchRecord()
                due_fen = await self._connection.fetchval(WORTH, self._place, *_arguments(period))
                amount_fen = share_fen(max(due_fen, 0), share_bp, "down")
                if amount_fen == 0:
                    return NothingToSettle()
                await self._open(settlement_id, "advance", period, amount_fen, act)
        except asyncpg.UniqueViolationError:
            return AdvanceOutstanding()
        return await self._read(settlement_id)

    async def approve(self, settlement_id: UUID, act: Act) -> Moved:
        """By another key than the draft's; nets the refunds that have come since, and an advance
        that was paid since."""
        async with self._connection.transaction():
            found = await self.read(settlement_id)
            if not isinstance(found, Settlement):
                return found
            await self._alone(found.retailer_id)
            found = await self._read(settlement_id)
            if found.state != "drafted":
                repeated = found.approved_by == act.key_id
                return found if repeated else WrongState(found.state)
            if found.drafted_by == act.key_id:
                return SameKey()
            if found.kind == "final":
                await self._connection.execute(GATHER_LATE, self._place, settlement_id)
                await self._connection.execute(
                    NET_ADVANCES, self._place, found.retailer_id, settlement_id
                )
                await self._connection.execute(ADD_UP, self._place, settlement_id)
            await self._connection.execute(
                "UPDATE settlement SET state = 'approved', approved_by = $3, approved_at = $4"
                " WHERE jurisdiction = $1 AND settlement_id = $2",
                self._place,
                settlement_id,
                act.key_id,
                act.at,
            )
            return await self._read(settlement_id)

    async def pay(self, settlement_id: UUID, payment_reference: str, act: Act) -> Moved:
        """Note that it was paid. A repeat with the same reference is harmless."""
        async with self._connection.transaction():
            await self._connection.execute(
                "UPDATE settlement SET state = 'paid', payment_reference = $3, paid_by = $4,"
                " paid_at = $5"
                " WHERE jurisdiction = $1 AND settlement_id = $2 AND state = 'approved'",
                self._place,
                settlement_id,
                payment_reference,
                act.key_id,
                act.at,
            )
            found = await self.read(settlement_id)
        if isinstance(found, Settlement) and found.payment_reference != payment_reference:
            return WrongState(found.state)
        return found

    async def read(self, settlement_id: UUID) -> Settlement | NoSuchRecord:
        row = await self._connection.fetchrow(
            "SELECT * FROM settlement WHERE jurisdiction = $1 AND settlement_id = $2",
            self._place,
            settlement_id,
        )
        return NoSuchRecord() if row is None else _settlement(row)

    async def newest(self, retailer_id: str | None, state: State | None) -> list[Settlement]:
        """At most LISTED_MAX, the newest first."""
        rows = await self._connection.fetch(
            "SELECT * FROM settlement WHERE jurisdiction = $1"
            " AND ($2::text IS NULL OR retailer_id = $2) AND ($3::text IS NULL OR state = $3)"
            " ORDER BY drafted_at DESC, settlement_id DESC LIMIT $4",
            self._place,
            retailer_id,
            state,
            LISTED_MAX,
        )
        return [_settlement(row) for row in rows]

    async def _read(self, settlement_id: UUID) -> Settlement:
        found = await self.read(settlement_id)
        assert isinstance(found, Settlement), "Bug! A settlement that was just written is gone."
        return found

    async def _alone(self, retailer_id: str) -> bool:
        """Whether there is such a retailer; nobody else settles for it until the end."""
        found = await self._connection.fetchval(LOCK_RETAILER, self._place, retailer_id)
        return found is not None

    async def _open(
        self, settlement_id: UUID, kind: str, period: Period, net_fen: int, act: Act
    ) -> None:
        await self._connection.execute(
            OPEN,
            self._place,
            settlement_id,
            period.retailer_id,
            kind,
            period.from_on,
            period.to_on,
            net_fen,
            act.key_id,
            act.at,
        )


def _arguments(period: Period) -> tuple[str, date, date]:
    return period.retailer_id, period.from_on, period.to_on


def _settlement(row: asyncpg.Record) -> Settlement:
    return Settlement(**{name: row[name] for name in Settlement.__slots__})
