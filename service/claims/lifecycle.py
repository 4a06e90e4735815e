"""What happens to a claim after it was granted or held: confirm, cancel, refund, invoice."""

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
from service.claims.ledger.refund import Refund, RefundReport, RefundWanted
from service.claims.ledger.stored import OwnClaim
from service.claims.outcomes import GateAway, KeyReused
from service.claims.patience import answered_within
from service.claims.people.digests import Digester
from service.clock import Clock
from service.pools.state import PoolState

BATCH_MAX = 256
QUEUE_MAX = 2048
# Each is a statement of its own, and all of them have one connection's time.
REFUNDS_MAX = 16


@dataclass(frozen=True, slots=True)
class WrongState:
    """The claim, or a line of it, is not in the state that this needs."""

    claim: Claim
    lines: tuple[int, ...] = ()  # those that are not confirmed any more


@dataclass(frozen=True, slots=True)
class NoSuchClaim:
    """Not there, or another retailer's: the two look the same."""


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
    """An invoice's total is what was paid plus the subsidy, and this one's is not. In fen."""

    paid_fen: int
    subsidy_fen: int
    total_fen: int


class Lifecycle:
    """Methods raise LedgerAway or Overloaded; a repeat is then safe."""

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
        # One connection for all of them: hundreds at once wait here, and not for each other's
        # locks on the pool.
        self._refunds = MicroBatcher[RefundWanted, RefundReport | None](
            ledger.refunds, batch_max=REFUNDS_MAX, queue_max=QUEUE_MAX
        )
        self._claims = MicroBatcher[OwnClaim, Claim | None](
            ledger.claims, batch_max=BATCH_MAX, queue_max=QUEUE_MAX
        )

    def queues(self) -> dict[str, int]:
        """How many wait for the next trip, by what for."""
        return {
            "finish": len(self._endings),
            "refund": len(self._refunds),
            "read": len(self._claims),
        }

    async def claim(self, retailer_id: str, claim_id: UUID) -> Claim | None:
        """The retailer's own claim, as it stands; None also where it is another's."""
        async with answered_within(self._answer_within_s):
            return await self._claims.submit((retailer_id, claim_id))

    async def end(
        self, retailer_id: str, claim_id: UUID, to_state: Literal["confirmed", "cancelled"]
    ) -> Claim | WrongState | NoSuchClaim:
        """Confirm or cancel a hold; a repeat finds it so."""
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
        """Take these lines back, all or none, once for each key."""
        now = self._clock.now()
        wanted = RefundWanted(
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
            report = await self._refunds.submit(wanted)
            if report is None:
                return await self._why_not(wanted)
        metrics.refunds.inc()
        self._tell_gate(report.pools, report.freed)
        return Refunded(report.refund, replayed=False)

    async def _why_not(
        self, wanted: RefundWanted
    ) -> Refunded | KeyReused | WrongState | NoSuchLine | NoSuchClaim:
        found = await self._ledger.refund_by_key(wanted.retailer_id, wanted.idempotency_key)
        if found is not None:
            refund, fingerprint = found
            same = fingerprint == wanted.fingerprint
            return Refunded(refund, replayed=True) if same else KeyReused()
        claim = await self.claim(wanted.retailer_id, wanted.claim_id)
        if claim is None:
            return NoSuchClaim()
        states = {line.line_no: line.state for line in claim.lines}
        for line_no in wanted.lines:
            if line_no not in states:
                return NoSuchLine(line_no)
        return WrongState(claim, tuple(n for n in wanted.lines if states[n] != "confirmed"))

    async def invoice(
        self, retailer_id: str, claim_id: UUID, invoice: Invoice
    ) -> Invoice | InvoiceTaken | WrongState | WrongTotal | NoSuchClaim:
        """Keep the claim's invoice, or put another in its place."""
        claim = await self.claim(retailer_id, claim_id)
        if claim is None:
            return NoSuchClaim()
        wrong = _does_not_fit(claim, invoice)
        if wrong is None:
            return await self._ledger.record_invoice(claim_id, invoice, self._clock.now())
        # A repeat of what is kept is harmless, whatever was refunded since.
        return invoice if await self._ledger.invoice(claim_id) == invoice else wrong

    async def _end(self, batch: Sequence[Ending]) -> list[bool]:
        wanted: dict[OwnClaim, Ending] = {}
        for ending in batch:  # of two that disagree the first is asked for, as if it came alone
            wanted.setdefault((ending.retailer_id, ending.claim_id), ending)
        report = await self._ledger.finish(list(wanted.values()), self._clock.now())
        self._tell_gate(report.pools, report.freed)
        return [
            (ending.retailer_id, ending.claim_id) in report.ended
            and wanted[ending.retailer_id, ending.claim_id] == ending
            for ending in batch
        ]

    def _tell_gate(self, pools: Sequence[PoolState], freed: Iterable[Footprint]) -> None:
        if pools:
            self._background(self._settle(pools, list(freed)))

    async def _settle(self, pools: Sequence[PoolState], freed: Sequence[Footprint]) -> None:
        try:
            await self._gate.settle(pools, freed=freed)
        except GateAway:
            pass  # the sweeper brings the view, and what the gate remembers is only a hint


def _does_not_fit(claim: Claim, invoice: Invoice) -> WrongState | WrongTotal | None:
    """What is against this invoice of the claim, whose lines may have been refunded."""
    standing = [line for line in claim.lines if line.state == "confirmed"]
    if claim.state != "confirmed" or not standing:
        return WrongState(claim)
    paid_fen = sum(line.payable_fen for line in standing)
    subsidy_fen = sum(line.subsidy_fen for line in standing)
    if invoice.total_fen != paid_fen + subsidy_fen:
        return WrongTotal(paid_fen, subsidy_fen, invoice.total_fen)
    return None
