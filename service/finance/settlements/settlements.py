"""Settlements: what a retailer is paid for a period, each entry settled once.

A draft takes the retailer's invoiced grants of the period and their refunds, and freezes them.
A refund that was booked before is in the draft and cancels out; one that comes while the draft
waits is netted when it is approved; one that comes after that is clawed back in the next. The
primary key of `settled_entry` keeps an entry from being settled twice. A draft that was made in
error is voided: it stays on record, and its entries are free for another.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from service.core.money import share_fen
from service.core.sentences import Sentence
from service.finance.settlements.settlement_sql import (
    ADD_UP,
    DRAFTED_WORTH,
    GATHER,
    GATHER_LATE,
    LOCK_RETAILER,
    NET_ADVANCES,
    OPEN,
    RECORD_VOID,
    VOID,
    WORTH,
)
from service.finance.settlements.wrong_state import SENTENCES, Wish

State = Literal["drafted", "approved", "paid", "voided"]

LISTED_MAX = 200


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
    voided_by: str | None = None
    voided_at: datetime | None = None
    void_reason: str | None = None


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
class AdvanceTooLarge:
    """Less is due by now than was to be advanced."""


@dataclass(frozen=True, slots=True)
class RetailerSuspended:
    """Nothing is approved for whoever may not sell."""


@dataclass(frozen=True, slots=True)
class SameKey:
    """Who drafted may not approve."""


@dataclass(frozen=True, slots=True)
class WrongState:
    """The settlement's state does not allow it."""

    wish: Wish
    state: State

    def why(self) -> Sentence:
        """With what to do instead."""
        return SENTENCES[self.wish, self.state]


Drafted = Settlement | NoSuchRecord | NothingToSettle | AdvanceOutstanding
Approved = Settlement | NoSuchRecord | SameKey | WrongState | RetailerSuspended | AdvanceTooLarge
Moved = Settlement | NoSuchRecord | WrongState
Voided = Moved | AdvanceOutstanding
Answer = Drafted | Approved | Voided


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
                if await self._alone(period.retailer_id) is None:
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
                if await self._alone(period.retailer_id) is None:
                    return NoSuchRecord()
                due_fen = await self._connection.fetchval(WORTH, self._place, *_arguments(period))
                amount_fen = share_fen(max(due_fen, 0), share_bp, "down")
                if amount_fen == 0:
                    return NothingToSettle()
                await self._open(settlement_id, "advance", period, amount_fen, act)
        except asyncpg.UniqueViolationError:
            return AdvanceOutstanding()
        return await self._read(settlement_id)

    async def approve(self, settlement_id: UUID, act: Act) -> Approved:
        """By another key than the draft's; nets the refunds that have come since, and an advance
        that was approved since."""
        async with self._connection.transaction():
            found = await self.read(settlement_id)
            if not isinstance(found, Settlement):
                return found
            retailer_state = await self._alone(found.retailer_id)
            found = await self._read(settlement_id)
            if found.state != "drafted":
                repeated = found.approved_by == act.key_id
                return found if repeated else WrongState("approve", found.state)
            if found.drafted_by == act.key_id:
                return SameKey()
            if retailer_state != "active":
                return RetailerSuspended()
            if found.kind == "advance" and await self._due_fen(found) < found.net_fen:
                return AdvanceTooLarge()
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
            return WrongState("pay", found.state)
        return found

    async def void(self, settlement_id: UUID, reason: str, act: Act) -> Voided:
        """Withdraw a draft: on record it stays, its entries and what it netted are free again."""
        try:
            async with self._connection.transaction():
                found = await self.read(settlement_id)
                if not isinstance(found, Settlement):
                    return found
                await self._alone(found.retailer_id)
                found = await self._read(settlement_id)
                if found.state != "drafted":
                    repeated = found.voided_by == act.key_id
                    return found if repeated else WrongState("void", found.state)
                of = self._place, settlement_id
                await self._connection.execute(RECORD_VOID, *of, act.key_id, act.at, reason)
                for statement in VOID:
                    await self._connection.execute(statement, *of)
        except asyncpg.UniqueViolationError:  # what it netted would be a second advance
            return AdvanceOutstanding()
        return await self._read(settlement_id)

    async def read(self, settlement_id: UUID) -> Settlement | NoSuchRecord:
        row = await self._connection.fetchrow(
            "SELECT * FROM settlement_on_record WHERE jurisdiction = $1 AND settlement_id = $2",
            self._place,
            settlement_id,
        )
        return NoSuchRecord() if row is None else _settlement(row)

    async def newest(self, retailer_id: str | None, state: State | None) -> list[Settlement]:
        """At most LISTED_MAX, the newest first."""
        rows = await self._connection.fetch(
            "SELECT * FROM settlement_on_record WHERE jurisdiction = $1"
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

    async def _alone(self, retailer_id: str) -> str | None:
        """The retailer's state, None for no such one; until the end nobody else settles for it."""
        state: str | None = await self._connection.fetchval(LOCK_RETAILER, self._place, retailer_id)
        return state

    async def _due_fen(self, advance: Settlement) -> int:
        """What settlements still to be approved will have to net it in."""
        period = Period(advance.retailer_id, advance.from_on, advance.to_on)
        free: int = await self._connection.fetchval(WORTH, self._place, *_arguments(period))
        drafted: int = await self._connection.fetchval(
            DRAFTED_WORTH, self._place, advance.retailer_id
        )
        return free + drafted

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
