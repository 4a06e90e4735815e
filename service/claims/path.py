"""The claim path, from top to bottom: price, admit, commit, settle the gate, answer.

The ledger alone decides what is granted. The gate in front of it says no fast, and when it
is away the claims go on without it. No answer leaves before the claim is durable, and no
refusal leaves before it is sure that the key has no claim.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, assert_never
from uuid import UUID

from service import metrics
from service.background import Background
from service.batcher import MicroBatcher, Overloaded
from service.claims.claim import Claim, PendingClaim, Seller, WantedLine
from service.claims.gate.gate import (
    Admission,
    Admitted,
    Candidate,
    Contested,
    Gate,
    Seen,
    Short,
    Taken,
    Unknown,
)
from service.claims.ledger.commit import Committed, GivenUp, KeyTaken, Unfit, Verdict
from service.claims.ledger.ledger import Ledger
from service.claims.ledger.standing import Openings, Standing, over_budget
from service.claims.ledger.stored import ClaimKey, KeyedClaim
from service.claims.outcomes import (
    GateAway,
    Granted,
    KeyReused,
    LineReasons,
    Outcome,
    Refused,
    Replayed,
)
from service.claims.patience import Patience, answered_within
from service.claims.people.digests import Digester
from service.claims.prepare import pending_claim, wanted_lines
from service.clock import Clock
from service.core.checkout import Checkout
from service.core.policy import PolicyBook
from service.core.quote import Quote, quote
from service.core.reasons import Reason, ReasonCode
from service.core.rules.window import SOLD_AHEAD_MAX
from service.core.value import value
from service.db.engine import LedgerAway, NeverSent
from service.pools.state import PoolState

# Small enough that one batch is on its way while the answers of the last one go out, large enough
# that what a trip costs by itself is shared: of 32, 48, 64, 96 and 128 the best at 256 connections.
BATCH_MAX = 64
QUEUE_MAX = 2048

# A claim seen in flight elsewhere is answered there within milliseconds; we look again
# this often, a little later each time (2 s in all), and then ask the till to retry.
LOOKS_MAX = 12
LOOK_AGAIN_S = 0.025
assert LOOK_AGAIN_S * LOOKS_MAX * (LOOKS_MAX + 1) / 2 < 2


@value
class Till:
    """Who asks: the store, and whether it may sell under the subsidy now."""

    seller: Seller
    barred: Literal["", "unknown", "suspended", "retailer_suspended"]


class ClaimPath:
    """Quotes and claims of one jurisdiction, in one worker process."""

    def __init__(
        self,
        *,
        book: PolicyBook,
        gate: Gate,
        ledger: Ledger,
        digester: Digester,
        clock: Clock,
        hold_for: timedelta,
        gate_required: bool,
        answer_within_s: float,
        background: Background,
        openings: Openings,
    ) -> None:
        self._book = book
        self._gate = gate
        self._ledger = ledger
        self._digester = digester
        self._clock = clock
        self._hold_for = hold_for
        self._gate_required = gate_required
        self._answer_within_s = answer_within_s
        self._patience = Patience(answer_within_s, lambda: LedgerAway("no answer in time"))
        self._under_way: dict[tuple[str, str], _UnderWay] = {}
        self._background = background
        self._openings = openings
        self._admissions = MicroBatcher[Candidate, Admission](
            self._admit_batch,
            batch_max=BATCH_MAX,
            queue_max=QUEUE_MAX,
            on_batch=metrics.gate_batch_size.observe,
        )
        self._commits = MicroBatcher[tuple[PendingClaim, bool], Verdict](
            self._commit_batch,
            batch_max=BATCH_MAX,
            queue_max=QUEUE_MAX,
            on_batch=metrics.ledger_batch_size.observe,
        )
        self._looks = MicroBatcher[Sequence[WantedLine], Standing](
            ledger.standing, batch_max=BATCH_MAX, queue_max=QUEUE_MAX
        )
        self._keys = MicroBatcher[ClaimKey, KeyedClaim | None](
            ledger.claims_by_key, batch_max=BATCH_MAX, queue_max=QUEUE_MAX
        )

    # --- quote --------------------------------------------------------------------------

    async def quote(self, till: Till, checkout: Checkout) -> tuple[Quote, LineReasons]:
        """What the checkout would get, and every reason against it as things stand. No effect."""
        priced = quote(self._book, checkout, self._clock.now())
        async with answered_within(self._answer_within_s):
            return priced, await self._all_reasons(till, checkout, priced)

    async def _all_reasons(self, till: Till, checkout: Checkout, priced: Quote) -> LineReasons:
        """What the rules say, and of the lines that they let pass what the ledger says."""
        reasons = _rule_reasons(till, priced)
        person = self._digester.person(checkout.consumer)
        if wanted := wanted_lines(checkout, priced, person, self._digester):
            standing = await self._looks.submit(wanted)
            reasons += standing.admit(till.seller.retailer_id, wanted)
        return tuple(sorted(reasons, key=lambda reason: reason[0]))

    # --- claim --------------------------------------------------------------------------

    async def claim(self, till: Till, idempotency_key: str, checkout: Checkout) -> Outcome:
        """Grant the checkout, or say why not; the same key has the same claim for ever.

        Raises LedgerAway, GateAway or Overloaded; a retry with the same key is then safe.
        """
        request = _Request(till, idempotency_key, self._digester.fingerprint(checkout), checkout)
        flight = (till.seller.retailer_id, idempotency_key)
        first = self._under_way.get(flight)
        if first is None:
            return await self._patience.wait_for(self._begin(request, flight))
        return await self._patience.wait_for(asyncio.create_task(self._join(request, flight)))

    async def claim_of_key(self, retailer_id: str, idempotency_key: str) -> Claim | None:
        """The claim that came of this key, as it stands. Raises LedgerAway or Overloaded."""
        async with answered_within(self._answer_within_s):
            stored = await self._keys.submit((retailer_id, idempotency_key))
        return stored.claim if stored else None

    def under_way(self, retailer_id: str, idempotency_key: str) -> bool:
        """Whether a claim of this key is being decided in this process."""
        return (retailer_id, idempotency_key) in self._under_way

    def queues(self) -> dict[str, int]:
        """How many wait for the next trip, by what for."""
        return {
            "admit": len(self._admissions),
            "commit": len(self._commits),
            "standing": len(self._looks),
            "keys": len(self._keys),
        }

    def _begin(self, request: "_Request", flight: tuple[str, str]) -> asyncio.Task[Outcome]:
        # A task of its own: a till that hangs up, or has waited long enough, does not stop its
        # claim halfway. The retry joins it, or finds what came of it.
        answer = asyncio.create_task(self._decide_alone(request, flight))
        self._under_way[flight] = _UnderWay(request.fingerprint, answer)
        return answer

    async def _join(self, request: "_Request", flight: tuple[str, str]) -> Outcome:
        """The answer to a request whose key has a claim under way."""
        while (first := self._under_way.get(flight)) is not None:
            outcome = await asyncio.shield(first.answer)
            if first.fingerprint == request.fingerprint:
                return Replayed(outcome.claim) if isinstance(outcome, Granted) else outcome
            if isinstance(outcome, Granted | Replayed):
                return KeyReused()
        return await self._begin(request, flight)

    async def _decide_alone(self, request: "_Request", flight: tuple[str, str]) -> Outcome:
        try:
            return await self._decide(request)
        finally:
            # Here, not in a callback a tick later: whoever met the finished task in between
            # would ask it again and again without ever letting the loop run.
            del self._under_way[flight]

    async def _decide(self, request: "_Request") -> Outcome:
        for look in range(LOOKS_MAX):
            # 1. Price: policy and checkout make amounts, or reasons.
            now = self._clock.now()
            priced = quote(self._book, request.checkout, now)
            doubt = ruled_out = _Doubt(_rule_reasons(request.till, priced))
            if not ruled_out.reasons:
                claim = self._pending(request, priced, now)
                # 2. Admit; 3. commit; 4. settle the gate (beside the answer).
                found = await self.admit_and_commit(claim)
                if not isinstance(found, _Doubt):
                    return found  # 5. Answer.
                doubt = found
            # No refusal before it is sure that the key has no claim.
            if doubt.ask and (replay := await self._replay(request)) is not None:
                return replay
            if doubt is ruled_out:  # told with the other lines' reasons: all is mended at once
                return Refused(await self._all_reasons(request.till, request.checkout, priced))
            if doubt.reasons:
                return Refused(doubt.reasons)
            if doubt.stale:
                await self._gate_forgets(claim, doubt.stale)
            await asyncio.sleep(LOOK_AGAIN_S * look)
        raise Overloaded

    async def admit_and_commit(self, claim: PendingClaim) -> "Granted | Refused | _Doubt":
        """The two hops of a claim that the rules allow; without the ledger's word on its key, a
        refusal is only a doubt. Raises as `claim` does."""
        try:
            admission = await self._admissions.submit(self._candidate(claim))
        except GateAway:
            admission = Unknown()
        match admission:
            case Admitted():
                return await self._commit(claim)
            case Unknown():
                if self._gate_required:
                    raise GateAway
                metrics.gate_bypassed.inc()
                return await self._commit(claim, bypassed=True)
            case Short(left_fen, sure):
                reasons = over_budget(claim.lines, left_fen, self._openings)
                return Refused(reasons) if sure else _Doubt(reasons)
            case Taken():
                standing = await self._looks.submit(claim.lines)
                reasons = standing.admit(claim.seller.retailer_id, claim.lines)
                return _Doubt(reasons, stale=admission)
            case Seen():
                return _Doubt(stale=admission)
            case Contested():
                return _Doubt()  # of a key in flight the ledger may know already
        assert_never(admission)

    async def _commit(
        self, claim: PendingClaim, *, bypassed: bool = False
    ) -> "Granted | Refused | _Doubt":
        try:
            verdict = await self._commits.submit((claim, bypassed))
        except (Overloaded, NeverSent):  # it never left
            self._settle_gate(undone=[claim])
            raise
        match verdict:
            case Committed():
                return Granted(claim.as_answered())
            case Unfit(reasons):
                return _Doubt(reasons)
            case KeyTaken():
                return _Doubt()
            case GivenUp():
                return _Doubt(ask=False)
        assert_never(verdict)

    async def _replay(self, request: "_Request") -> Replayed | KeyReused | None:
        key = (request.till.seller.retailer_id, request.idempotency_key)
        stored = await self._keys.submit(key)
        if stored is None:
            return None
        if not self._digester.matches(request.checkout, stored.fingerprint):
            return KeyReused()
        return Replayed(stored.claim.as_first_answered())

    def _candidate(self, claim: PendingClaim) -> Candidate:
        # No claim of this body can have been made earlier than the till may date it ahead.
        age = claim.created_at - claim.checkout.sold_at + SOLD_AHEAD_MAX
        return Candidate(claim, max(0, age // timedelta(milliseconds=1)))

    def _pending(self, request: "_Request", priced: Quote, now: datetime) -> PendingClaim:
        return pending_claim(
            request.till.seller,
            request.idempotency_key,
            request.fingerprint,
            request.checkout,
            priced,
            now,
            hold_for=self._hold_for,
            digester=self._digester,
        )

    # --- the two hops -------------------------------------------------------------------

    async def _admit_batch(self, batch: Sequence[Candidate]) -> Sequence[Admission]:
        return await self._gate.admit(batch)

    async def _commit_batch(self, batch: Sequence[tuple[PendingClaim, bool]]) -> Sequence[Verdict]:
        claims = [claim for claim, _ in batch]
        report = await self._ledger.commit(claims, bypassed=any(bypass for _, bypass in batch))
        verdicts = list(zip(claims, report.verdicts, strict=True))
        self._settle_gate(
            report.pools,
            done=[claim.claim_id for claim, verdict in verdicts if isinstance(verdict, Committed)],
            undone=[claim for claim, verdict in verdicts if not isinstance(verdict, Committed)],
        )
        return report.verdicts

    def _settle_gate(
        self,
        views: Sequence[PoolState] = (),
        *,
        done: Sequence[UUID] = (),
        undone: Sequence[PendingClaim] = (),
    ) -> None:
        """In the background: an answer does not wait for the gate."""
        self._background(self._settle(views, done, undone))

    async def _settle(
        self, views: Sequence[PoolState], done: Sequence[UUID], undone: Sequence[PendingClaim]
    ) -> None:
        try:
            await self._gate.settle(views, done=done, undone=undone)
        except GateAway:
            pass  # the refresh brings the views, the sweeper ends the admissions

    async def _gate_forgets(self, claim: PendingClaim, found: Seen | Taken) -> None:
        try:
            await self._gate.forget(claim, found)
        except GateAway:
            pass  # it has nothing to forget, or will be asked again

    async def drain(self) -> None:
        """Wait until everything under way is answered."""
        while self._under_way:
            await asyncio.wait({flight.answer for flight in self._under_way.values()})


@value
class _Request:
    """One claim as it was asked for."""

    till: Till
    idempotency_key: str
    fingerprint: bytes
    checkout: Checkout


@value
class _UnderWay:
    """A claim that is being decided in this process, and the body it came with."""

    fingerprint: bytes
    answer: asyncio.Task[Outcome]


@value
class _Doubt:
    """Not decided yet. `reasons` against the claim, if any; whether to `ask` the ledger first
    what its key has; what of the gate's memory is `stale` if the ledger knows of nothing.
    Without reasons, look again."""

    reasons: LineReasons = ()
    ask: bool = True
    stale: Seen | Taken | None = None


def _rule_reasons(till: Till, priced: Quote) -> LineReasons:
    """What the rules, and the store's standing, say against each line."""
    barred = (
        [Reason(ReasonCode.STORE_NOT_ENROLLED, "" if till.barred == "unknown" else till.barred)]
        if till.barred
        else []
    )
    return tuple(
        (line.line_no, reason) for line in priced.lines for reason in (*barred, *line.reasons)
    )
