"""A claim after its grant or hold: confirm, cancel, refund, invoice."""

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
from service.claims.ledger.finish import Ending
from service.claims.ledger.invoice import Invoice, InvoiceTaken
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


@dataclass(frozen=True, slots=True)
class WrongState:
    """The claim, or one of its lines, is not in the state that the request needs."""

    claim: Claim
    lines: tuple[int, ...] = ()  # those that are no longer confirmed


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
class WrongTotal:
    """The invoice's total is not what was paid plus the subsidy."""

    paid_fen: int
    subsidy_fen: int
    total_fen: int


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
        self, retailer_id: str, claim_id: UUID, invoice: Invoice
    ) -> Invoice | InvoiceTaken | WrongState | WrongTotal | NoSuchClaim:
        """Store the claim's invoice, or replace it."""
        claim = await self.claim(retailer_id, claim_id)
        if claim is None:
            return NoSuchClaim()
        objection = _objection(claim, invoice)
        if objection is None:
            return await self._ledger.record_invoice(claim_id, invoice, self._clock.now())
        # A repeat of the stored invoice is accepted, whatever was refunded since.
        return invoice if await self._ledger.invoice(claim_id) == invoice else objection

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


def _objection(claim: Claim, invoice: Invoice) -> WrongState | WrongTotal | None:
    """Why the invoice does not fit the claim's lines that are not refunded."""
    confirmed = [line for line in claim.lines if line.state == "confirmed"]
    if claim.state != "confirmed" or not confirmed:
        return WrongState(claim)
    paid_fen = sum(line.payable_fen for line in confirmed)
    subsidy_fen = sum(line.subsidy_fen for line in confirmed)
    if invoice.total_fen != paid_fen + subsidy_fen:
        return WrongTotal(paid_fen, subsidy_fen, invoice.total_fen)
    return None
