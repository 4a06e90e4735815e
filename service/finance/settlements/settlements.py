"""Settlements: what a retailer is paid for a period. Each journal entry is settled once.

A draft freezes the retailer's invoiced grants of the period and their refunds. The time of a refund
decides where it counts:

- Booked before the draft: the draft has the refund, and the two entries cancel out.
- Booked between draft and approval: the approval adds it to the draft.
- Booked after the approval: the retailer's next settlement claws it back.

A draft also freezes what its statement shows: the invoice of each line, and the retailer's name.
From then on these invoices cannot be replaced.

The primary key of `settled_entry` allows each entry in one settlement only. A draft that was made
in error is voided: it stays on record, and its entries can be settled again.
"""

from datetime import date
from pathlib import Path
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from service.core.money import share_fen
from service.finance.settlements.settlement import (
    AdvanceOutstanding,
    AdvanceTooLarge,
    ApproveOutcome,
    DraftOutcome,
    LeftOut,
    NoSuchRecord,
    NothingToSettle,
    PayOutcome,
    RetailerSuspended,
    SameKey,
    Settlement,
    SettlementActor,
    SettlementPeriod,
    SettlementState,
    VoidOutcome,
    WrongSettlementState,
)

LISTED_MAX = 200

_HERE = Path(__file__).parent
_OPEN_SQL = (_HERE / "open.sql").read_text()
_DUE_SQL = (_HERE / "due.sql").read_text()
_FREEZE_SQL = f"""
INSERT INTO settled_entry (
    jurisdiction, settlement_id, entry_no, part, claim_id, line_no, amount_fen, invoice_no)
SELECT $1, $5, due.* FROM ({_DUE_SQL}) AS due
"""  # noqa: S608
# An advance counts the grants and their refunds, but no claw-backs.
_WORTH_SQL = f"""
SELECT coalesce(sum(amount_fen), 0)::bigint FROM ({_DUE_SQL}) AS due WHERE part <> 'claw_back'
"""  # noqa: S608
_FREEZE_LATE_REFUNDS_SQL = (_HERE / "freeze_late_refunds.sql").read_text()
_LEFT_OUT_SQL = (_HERE / "left_out.sql").read_text()
_ADD_UP_SQL = (_HERE / "add_up.sql").read_text()
_RECORD_VOID_SQL = (_HERE / "record_void.sql").read_text()
_APPROVE_SQL = """
UPDATE settlement SET state = 'approved', approved_by = $3, approved_at = $4
WHERE jurisdiction = $1 AND settlement_id = $2
"""
_PAY_SQL = """
UPDATE settlement SET state = 'paid', payment_reference = $3, paid_by = $4, paid_at = $5
WHERE jurisdiction = $1 AND settlement_id = $2 AND state = 'approved'
"""
# An approved advance is netted before it is paid: later there may be no settlement to net it in.
_NET_ADVANCES_SQL = """
UPDATE settlement SET netted_in = $3
WHERE jurisdiction = $1 AND retailer_id = $2 AND kind = 'advance'
    AND state IN ('approved', 'paid') AND netted_in IS NULL
"""
# Frozen entries of drafts are still due: the approval of such a draft nets the advance.
_DRAFTED_WORTH_SQL = """
SELECT coalesce(sum(net_fen), 0)::bigint FROM settlement
WHERE jurisdiction = $1 AND retailer_id = $2 AND kind = 'final' AND state = 'drafted'
"""
# In this order: each statement needs the one before it.
_VOID_SQL = (
    "UPDATE settlement SET netted_in = NULL WHERE jurisdiction = $1 AND netted_in = $2",
    (_HERE / "record_voided_entries.sql").read_text(),
    "DELETE FROM settled_entry WHERE jurisdiction = $1 AND settlement_id = $2",
    "DELETE FROM settlement WHERE jurisdiction = $1 AND settlement_id = $2",
)
# Drafts and approvals of one retailer wait for each other. Claims do not take this lock.
_LOCK_RETAILER_SQL = """
SELECT state FROM retailer WHERE jurisdiction = $1 AND retailer_id = $2 FOR NO KEY UPDATE
"""


class _Rollback(Exception):
    """Ends the transaction without a trace."""


class Settlements:
    """The settlements of one jurisdiction, over one connection. Each method is one transaction and
    raises asyncpg's errors."""

    def __init__(self, connection: asyncpg.Connection, jurisdiction: str) -> None:
        self._connection = connection
        self._jurisdiction = jurisdiction

    async def draft(self, period: SettlementPeriod, actor: SettlementActor) -> DraftOutcome:
        """Freeze all entries that are due for the period, and net approved advances."""
        settlement_id = uuid7()
        try:
            async with self._connection.transaction():
                if await self._lock_retailer(period.retailer_id) is None:
                    return NoSuchRecord()
                left_out = await self._left_out(period)
                await self._open(settlement_id, "final", period, 0, left_out, actor)
                tag = await self._connection.execute(
                    _FREEZE_SQL, self._jurisdiction, *_arguments(period), settlement_id
                )
                if tag == "INSERT 0 0":
                    raise _Rollback
                await self._net_advances(period.retailer_id, settlement_id)
        except _Rollback:
            return NothingToSettle(left_out)
        return await self._read(settlement_id)

    async def advance(
        self, period: SettlementPeriod, share_bp: int, actor: SettlementActor
    ) -> DraftOutcome:
        """Draft the payment of a share of what is due now, before the entries are settled.
        `share_bp`: 1 to 10,000 basis points."""
        settlement_id = uuid7()
        try:
            async with self._connection.transaction():
                if await self._lock_retailer(period.retailer_id) is None:
                    return NoSuchRecord()
                left_out = await self._left_out(period)
                due_fen = await self._worth_fen(period)
                amount_fen = share_fen(max(due_fen, 0), share_bp, "down")
                if amount_fen == 0:
                    return NothingToSettle(left_out)
                await self._open(settlement_id, "advance", period, amount_fen, left_out, actor)
        except asyncpg.UniqueViolationError:
            return AdvanceOutstanding()
        return await self._read(settlement_id)

    async def approve(self, settlement_id: UUID, actor: SettlementActor) -> ApproveOutcome:
        """Approve a draft that another key has made. Nets the refunds and advances that came since
        the draft. A repeat by the same key is harmless."""
        async with self._connection.transaction():
            settlement = await self.read(settlement_id)
            if not isinstance(settlement, Settlement):
                return settlement
            retailer_state = await self._lock_retailer(settlement.retailer_id)
            settlement = await self._read(settlement_id)  # as it is under the lock
            if settlement.state != "drafted":
                repeated = settlement.approved_by == actor.key_id
                return settlement if repeated else WrongSettlementState("approve", settlement.state)
            if settlement.drafted_by == actor.key_id:
                return SameKey()
            if retailer_state != "active":
                return RetailerSuspended()
            if settlement.kind == "advance":
                if await self._due_fen(settlement) < settlement.net_fen:
                    return AdvanceTooLarge()
            else:
                await self._connection.execute(
                    _FREEZE_LATE_REFUNDS_SQL, self._jurisdiction, settlement_id
                )
                await self._net_advances(settlement.retailer_id, settlement_id)
            await self._connection.execute(
                _APPROVE_SQL, self._jurisdiction, settlement_id, actor.key_id, actor.at
            )
            return await self._read(settlement_id)

    async def pay(
        self, settlement_id: UUID, payment_reference: str, actor: SettlementActor
    ) -> PayOutcome:
        """Record the payment of an approved settlement. A repeat with the same reference is
        harmless."""
        async with self._connection.transaction():
            await self._connection.execute(
                _PAY_SQL,
                self._jurisdiction,
                settlement_id,
                payment_reference,
                actor.key_id,
                actor.at,
            )
            settlement = await self.read(settlement_id)
        if not isinstance(settlement, Settlement):
            return settlement
        if settlement.payment_reference != payment_reference:
            return WrongSettlementState("pay", settlement.state)
        return settlement

    async def void(self, settlement_id: UUID, reason: str, actor: SettlementActor) -> VoidOutcome:
        """Withdraw a draft. It stays on record. Its entries, and the advances that it netted, can
        be settled again. A repeat by the same key is harmless."""
        try:
            async with self._connection.transaction():
                settlement = await self.read(settlement_id)
                if not isinstance(settlement, Settlement):
                    return settlement
                await self._lock_retailer(settlement.retailer_id)
                settlement = await self._read(settlement_id)  # as it is under the lock
                if settlement.state != "drafted":
                    repeated = settlement.voided_by == actor.key_id
                    return (
                        settlement if repeated else WrongSettlementState("void", settlement.state)
                    )
                key = self._jurisdiction, settlement_id
                await self._connection.execute(
                    _RECORD_VOID_SQL, *key, actor.key_id, actor.at, reason
                )
                for statement in _VOID_SQL:
                    await self._connection.execute(statement, *key)
        except asyncpg.UniqueViolationError:  # the advance that it netted would be a second one
            return AdvanceOutstanding()
        return await self._read(settlement_id)

    async def read(self, settlement_id: UUID) -> Settlement | NoSuchRecord:
        """The settlement, also if it was voided."""
        row = await self._connection.fetchrow(
            "SELECT * FROM settlement_recorded WHERE jurisdiction = $1 AND settlement_id = $2",
            self._jurisdiction,
            settlement_id,
        )
        return NoSuchRecord() if row is None else _settlement(row)

    async def newest(
        self, retailer_id: str | None, state: SettlementState | None
    ) -> list[Settlement]:
        """At most LISTED_MAX settlements, the newest first."""
        rows = await self._connection.fetch(
            "SELECT * FROM settlement_recorded WHERE jurisdiction = $1"
            " AND ($2::text IS NULL OR retailer_id = $2) AND ($3::text IS NULL OR state = $3)"
            " ORDER BY drafted_at DESC, settlement_id DESC LIMIT $4",
            self._jurisdiction,
            retailer_id,
            state,
            LISTED_MAX,
        )
        return [_settlement(row) for row in rows]

    async def _read(self, settlement_id: UUID) -> Settlement:
        settlement = await self.read(settlement_id)
        assert isinstance(settlement, Settlement), "Bug! A settlement just written is gone."
        return settlement

    async def _lock_retailer(self, retailer_id: str) -> str | None:
        """The retailer's state. None: there is no such retailer."""
        state: str | None = await self._connection.fetchval(
            _LOCK_RETAILER_SQL, self._jurisdiction, retailer_id
        )
        return state

    async def _left_out(self, period: SettlementPeriod) -> LeftOut:
        """What is due for the period but for an invoice."""
        row = await self._connection.fetchrow(
            _LEFT_OUT_SQL, self._jurisdiction, *_arguments(period)
        )
        return LeftOut(*row)

    async def _worth_fen(self, period: SettlementPeriod) -> int:
        """The sum of the grants and refunds that are due for the period."""
        fen: int = await self._connection.fetchval(
            _WORTH_SQL, self._jurisdiction, *_arguments(period)
        )
        return fen

    async def _due_fen(self, advance: Settlement) -> int:
        """What later approvals can net the advance in: entries that are due, and drafts."""
        period = SettlementPeriod(advance.retailer_id, advance.from_on, advance.to_on)
        drafted_fen: int = await self._connection.fetchval(
            _DRAFTED_WORTH_SQL, self._jurisdiction, advance.retailer_id
        )
        return await self._worth_fen(period) + drafted_fen

    async def _net_advances(self, retailer_id: str, settlement_id: UUID) -> None:
        await self._connection.execute(
            _NET_ADVANCES_SQL, self._jurisdiction, retailer_id, settlement_id
        )
        await self._connection.execute(_ADD_UP_SQL, self._jurisdiction, settlement_id)

    async def _open(
        self,
        settlement_id: UUID,
        kind: str,
        period: SettlementPeriod,
        net_fen: int,
        left_out: LeftOut,
        actor: SettlementActor,
    ) -> None:
        await self._connection.execute(
            _OPEN_SQL,
            self._jurisdiction,
            settlement_id,
            period.retailer_id,
            kind,
            period.from_on,
            period.to_on,
            net_fen,
            actor.key_id,
            actor.at,
            left_out.claims,
            left_out.fen,
        )


def _arguments(period: SettlementPeriod) -> tuple[str, date, date]:
    return period.retailer_id, period.from_on, period.to_on


def _settlement(row: asyncpg.Record) -> Settlement:
    return Settlement(**{name: row[name] for name in Settlement.__slots__})
