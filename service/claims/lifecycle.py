"""A claim after its grant or hold: confirm, cancel, refund, invoice."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from uuid_utils.compat import uuid7

from service import metrics
from service.background import Background
from service.batcher import MicroBatcher
from service.claims.claim import Claim, Footprint
from service.claims.gate.gate import Gate
from service.claims.invoicing import Invoice, InvoicePaper, WrongState
from service.claims.ledger.finish import Ending
from service.claims.ledger.invoice import Recorded
from service.claims.ledger.ledger import Ledger
from service.claims.ledger.refund import Refund, RefundReport, RefundRequest
from service.claims.ledger.stored import OwnClaim
from service.claims.outcomes import GateAway, KeyReused
from service.claims.patience import answered_within
from service.claims.people.digests import Digester
from service.clock import Clock
from service.pools.state import PoolState

BATCH_MAX = 256
QUEUE_MAX = 2048
# Refunds of a batch are one statement each, and share the time limit of one connection.
REFUNDS_MAX = 16
FILING_MAX = 3


@dataclass(frozen=True, slots=True)
class NoSuchClaim:
    """The claim does not exist or is another retailer's: the two look the same."""


@dataclass(frozen=True, slots=True)
class NoSuchLine:
    """The claim has no line of this number."""

    line_no: int


@dataclass(frozen=True, slots=True)
class Refunded:
    refund: Refund
    replayed: bool


@dataclass(frozen=True, slots=True)
class ClaimPapers:
    """A claim with every invoice that was filed for it."""

    claim: Claim
    papers: list[InvoicePaper]


class Lifecycle:
    """Methods raise LedgerAway or Overloaded. A repeat is then safe."""

    def __init__(
        self,
        gate: Gate,
        ledger: Ledger,
        digester: Digester,
        clock: Clock,
        background: Background,
        *,
        answer_within_s: float,
    ) -> None:
        self._gate = gate
        self._ledger = ledger
        self._digester = digester
        self._clock = clock
        self._background = background
        self._answer_within_s = answer_within_s
        self._endings = MicroBatcher[Ending, bool](
            self._end, batch_max=BATCH_MAX, queue_max=QUEUE_MAX
        )
        # One connection for all: hundreds of refunds queue here instead of for the pool's lock.
        self._refunds = MicroBatcher[RefundRequest, RefundReport | None](
            ledger.refunds, batch_max=REFUNDS_MAX, queue_max=QUEUE_MAX
        )
        self._claims = MicroBatcher[OwnClaim, Claim | None](
            ledger.claims, batch_max=BATCH_MAX, queue_max=QUEUE_MAX
        )

        # Each may wait for its retailer's settlement. One of a retailer waits on a connection, so
        # that the others' go on, and most connections stay free for claims.
        self._filing = asyncio.Semaphore(FILING_MAX)
        self._filing_of: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def queues(self) -> dict[str, int]:
        """The length of each queue."""
        return {
            "finish": len(self._endings),
            "refund": len(self._refunds),
            "read": len(self._claims),
        }

    async def claim(self, retailer_id: str, claim_id: UUID) -> Claim | None:
        """The retailer's own claim; None if it does not exist or is another retailer's."""
        async with answered_within(self._answer_within_s):
            return await self._claims.submit((retailer_id, claim_id))

    async def end(
        self, retailer_id: str, claim_id: UUID, to_state: Literal["confirmed", "cancelled"]
    ) -> Claim | WrongState | NoSuchClaim:
        """Confirm or cancel a hold. A repeat returns the same claim."""
        async with answered_within(self._answer_within_s):
            ended = await self._endings.submit(Ending(retailer_id, claim_id, to_state))
            claim = await self.claim(retailer_id, claim_id)
        if claim is None:
            return NoSuchClaim()
        if ended:
            metrics.holds_ended.labels(to_state).inc()
            return claim
        return claim if claim.state == to_state else WrongState(claim)

    async def refund(
        self,
        retailer_id: str,
        idempotency_key: str,
        claim_id: UUID,
        lines: Sequence[int],
        reason: str,
    ) -> Refunded | KeyReused | WrongState | NoSuchLine | NoSuchClaim:
        """Refund these lines, all or none, once per key."""
        now = self._clock.now()
        request = RefundRequest(
            refund_id=uuid7(nanoseconds=round(now.timestamp() * 1000) * 1_000_000),
            retailer_id=retailer_id,
            idempotency_key=idempotency_key,
            fingerprint=self._digester.refund(claim_id, lines, reason),
            claim_id=claim_id,
            lines=tuple(lines),
            reason=reason,
            now=now,
        )
        async with answered_within(self._answer_within_s):
            report = await self._refunds.submit(request)
            if report is None:
                return await self._why_not(request)
        metrics.refunds.inc()
        self._tell_gate(report.pools, report.freed)
        return Refunded(report.refund, replayed=False)

    async def _why_not(
        self, request: RefundRequest
    ) -> Refunded | KeyReused | WrongState | NoSuchLine | NoSuchClaim:
        stored = await self._ledger.refund_by_key(request.retailer_id, request.idempotency_key)
        if stored is not None:
            refund, fingerprint = stored
            same = fingerprint == request.fingerprint
            return Refunded(refund, replayed=True) if same else KeyReused()
        claim = await self.claim(request.retailer_id, request.claim_id)
        if claim is None:
            return NoSuchClaim()
        states = {line.line_no: line.state for line in claim.lines}
        for line_no in request.lines:
            if line_no not in states:
                return NoSuchLine(line_no)
        return WrongState(claim, tuple(n for n in request.lines if states[n] != "confirmed"))

    async def invoice(
        self, retailer_id: str, claim_id: UUID, invoice: Invoice, *, seller_id: str = ""
    ) -> Recorded | NoSuchClaim:
        """File an invoice of the claim, or replace one. `seller_id`: the seller's tax number that
        an invoice's file gives."""
        claim = await self.claim(retailer_id, claim_id)
        if claim is None:
            return NoSuchClaim()
        filing_of = self._filing_of[retailer_id]
        async with answered_within(self._answer_within_s), filing_of, self._filing:
            return await self._ledger.record_invoice(
                claim, invoice.of(claim), self._clock.now(), seller_id=seller_id
            )

    async def invoices(self, retailer_id: str, claim_id: UUID) -> ClaimPapers | NoSuchClaim:
        """The claim with every invoice that was filed for it."""
        claim = await self.claim(retailer_id, claim_id)
        if claim is None:
            return NoSuchClaim()
        return ClaimPapers(claim, await self._ledger.papers(claim_id))

    async def _end(self, batch: Sequence[Ending]) -> list[bool]:
        firsts: dict[OwnClaim, Ending] = {}
        for ending in batch:  # if two disagree, the first one wins
            firsts.setdefault((ending.retailer_id, ending.claim_id), ending)
        report = await self._ledger.finish(list(firsts.values()), self._clock.now())
        self._tell_gate(report.pools, report.freed)
        return [
            (ending.retailer_id, ending.claim_id) in report.ended
            and firsts[ending.retailer_id, ending.claim_id] == ending
            for ending in batch
        ]

    def _tell_gate(self, pools: Sequence[PoolState], freed: Iterable[Footprint]) -> None:
        if pools:
            self._background(self._settle(pools, list(freed)))

    async def _settle(self, pools: Sequence[PoolState], freed: Sequence[Footprint]) -> None:
        try:
            await self._gate.settle(pools, freed=freed)
        except GateAway:
            pass  # the sweeper updates the gate, and its memory of serials is only a hint
