"""The claim path, from top to bottom: price, admit, commit, settle the gate, answer.

The ledger alone grants. The gate in front of it refuses fast. Without the gate the ledger decides
alone or, if the settings require a gate, claims raise GateAway. No grant leaves before the claim is
durable. No refusal leaves before the ledger was asked for the key's claim, or the gate remembers
far enough back to know that there is none: a retry must get the answer of the first request.

The steps are in `ClaimPath._decide`. A claim waits in the gate's queue and, if it is admitted, in
the ledger's. It shares each round trip with the claims that queue at the same time. The claims of
one request take the same steps side by side (`_decide_together`). One that is neither granted nor
refused at the first try goes on alone (`_decide`).
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any, assert_never
from uuid import UUID

from service import metrics
from service.background import Background
from service.batcher import MicroBatcher, Overloaded
from service.claims.claim import Claim, LineDemand, PendingClaim, SellerStanding
from service.claims.gate.answers import (
    Admission,
    Admitted,
    Candidate,
    Contested,
    Seen,
    Short,
    Taken,
    Unknown,
)
from service.claims.gate.gate import Gate
from service.claims.hops import Around, unobserved
from service.claims.ledger.commit import Committed, CommitVerdict, GivenUp, KeyTaken, Unfit
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
from service.claims.prepare import line_demands, pending_claim
from service.clock import Clock
from service.core.checkout import Checkout
from service.core.policy import PolicyBook
from service.core.quote import Quote, quote
from service.core.reasons import Reason, ReasonCode
from service.core.rules.window import SOLD_AHEAD_MAX
from service.core.value import value
from service.db.engine import LedgerAway, NeverSent
from service.pools.state import PoolState

# Small enough that one batch is under way while the answers of the last one are sent, large enough
# to share the fixed cost of a round trip. The best of 32, 48, 64, 96 and 128 at 256 connections.
BATCH_MAX = 64
QUEUE_MAX = 2048
# The claims of one request that share their steps. No till waits for one of them alone, and groups
# of 250 took a quarter less CPU time than groups of 64, in the service and in both engines.
TOGETHER_MAX = 250

# A claim that is in flight in another process is decided there within milliseconds. The path tries
# so often, with growing pauses of less than 2 s in all, and then asks the till to retry.
TRIES_MAX = 12
RETRY_S = 0.025
assert RETRY_S * TRIES_MAX * (TRIES_MAX - 1) / 2 < 2

MS = timedelta(milliseconds=1)

# A request for a claim: who sells, the idempotency key, the sale.
Submission = tuple[SellerStanding, str, Checkout]
Fault = LedgerAway | GateAway | Overloaded
FAULTS = (LedgerAway, GateAway, Overloaded)


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
        around: Around = unobserved,
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
        self._under_way: dict[ClaimKey, _UnderWay] = {}
        self._background = background
        self._openings = openings
        self._admit_and_commit = around("claim.admit", self.admit_and_commit)
        self._commit_observed = around("claim.commit", self._commit)
        self._admit_and_commit_all = around("claims.admit", self.admit_and_commit_all)
        self._commit_all_observed = around("claims.commit", self._commit_all)
        self._admit_batcher = MicroBatcher[Candidate, Admission](
            around("gate.admit", gate.admit),
            batch_max=BATCH_MAX,
            queue_max=QUEUE_MAX,
            on_batch=metrics.gate_batch_size.observe,
        )
        self._commit_batcher = MicroBatcher[tuple[PendingClaim, bool], CommitVerdict](
            around("ledger.commit", self._commit_batch),
            batch_max=BATCH_MAX,
            queue_max=QUEUE_MAX,
            on_batch=metrics.ledger_batch_size.observe,
        )
        self._standing_batcher = MicroBatcher[Sequence[LineDemand], Standing](
            ledger.standing, batch_max=BATCH_MAX, queue_max=QUEUE_MAX
        )
        self._key_batcher = MicroBatcher[ClaimKey, KeyedClaim | None](
            ledger.claims_by_key, batch_max=BATCH_MAX, queue_max=QUEUE_MAX
        )

    # --- quote --------------------------------------------------------------------------

    async def quote(
        self, standing: SellerStanding, checkout: Checkout
    ) -> tuple[Quote, LineReasons]:
        """What the checkout would get, and every reason against it at this moment. No effect."""
        priced = quote(self._book, checkout, self._clock.now())
        async with answered_within(self._answer_within_s):
            return priced, await self._all_reasons(standing, checkout, priced)

    async def _all_reasons(
        self, standing: SellerStanding, checkout: Checkout, priced: Quote
    ) -> LineReasons:
        """The rules' reasons, and the ledger's reasons against the lines that the rules allow."""
        reasons = _rule_reasons(standing, priced)
        person = self._digester.person(checkout.consumer)
        if demands := line_demands(checkout, priced, person, self._digester):
            ledger_standing = await self._standing_batcher.submit(demands)
            reasons += ledger_standing.reasons_against(standing.seller.retailer_id, demands)
        return tuple(sorted(reasons, key=lambda reason: reason[0]))

    # --- claim --------------------------------------------------------------------------

    async def claim(
        self, standing: SellerStanding, idempotency_key: str, checkout: Checkout
    ) -> Outcome:
        """Grant the checkout, or refuse it with reasons. A key never gets a second claim; a refusal
        does not use it up.

        Raises LedgerAway, GateAway or Overloaded. A retry with the same key is then safe.
        """
        request = _Request(
            standing, idempotency_key, self._digester.fingerprint(checkout), checkout
        )
        if request.claim_key not in self._under_way:
            return await self._patience.wait_for(self._begin(request))
        return await self._patience.wait_for(asyncio.create_task(self._join(request)))

    async def claims(self, asked: Sequence[Submission]) -> list["Outcome | Fault"]:
        """The answers to many claims, each as if it came alone, in this order. One that fails has
        the fault as its answer; one that takes too long has LedgerAway, and goes on."""
        requests = [
            _Request(standing, key, self._digester.fingerprint(checkout), checkout)
            for standing, key, checkout in asked
        ]
        answers: list[asyncio.Future[Outcome]] = []
        fresh: list[_Flight] = []
        work: list[asyncio.Future[Any]] = []
        for request in requests:
            if request.claim_key in self._under_way:  # perhaps by an earlier one of these
                work.append(join := asyncio.create_task(self._join(request)))
                answers.append(join)
            else:
                flight = self._take_off(request)
                fresh.append(flight)
                answers.append(flight.answer)
        for start in range(0, len(fresh), TOGETHER_MAX):
            flights = fresh[start : start + TOGETHER_MAX]
            work.append(self._background(self._decide_together(flights)))
        with suppress(LedgerAway):  # what is decided by then is answered
            await self._patience.wait_for(asyncio.gather(*work, return_exceptions=True))
        return [_answered(answer) for answer in answers]

    async def claim_of_key(self, retailer_id: str, idempotency_key: str) -> Claim | None:
        """The key's claim in its present state, or None. Raises LedgerAway or Overloaded."""
        async with answered_within(self._answer_within_s):
            stored = await self._key_batcher.submit((retailer_id, idempotency_key))
        return stored.claim if stored else None

    def under_way(self, retailer_id: str, idempotency_key: str) -> bool:
        """Whether a claim of this key is being decided in this process."""
        return (retailer_id, idempotency_key) in self._under_way

    def queues(self) -> dict[str, int]:
        """The length of each queue."""
        return {
            "admit": len(self._admit_batcher),
            "commit": len(self._commit_batcher),
            "standing": len(self._standing_batcher),
            "keys": len(self._key_batcher),
        }

    def _begin(self, request: "_Request") -> asyncio.Task[Outcome]:
        # A task of its own: if the till hangs up or the wait times out, the claim goes on. A retry
        # joins the task, or finds its outcome in the ledger.
        answer = asyncio.create_task(self._decide_alone(request))
        self._under_way[request.claim_key] = _UnderWay(request.fingerprint, answer)
        return answer

    def _take_off(self, request: "_Request") -> "_Flight":
        """The request as one of several that are decided together."""
        flight = _Flight(request, asyncio.get_running_loop().create_future())
        self._under_way[request.claim_key] = _UnderWay(request.fingerprint, flight.answer)
        return flight

    def _land(self, flight: "_Flight", outcome: "Outcome | BaseException") -> None:
        """Answer a request that `_take_off` got, with its outcome or a fault."""
        del self._under_way[flight.request.claim_key]
        if isinstance(outcome, Exception):
            flight.answer.set_exception(outcome)
            flight.answer.exception()  # now asyncio does not log it as never retrieved
        elif isinstance(outcome, BaseException):
            flight.answer.cancel()
        else:
            flight.answer.set_result(outcome)

    async def _join(self, request: "_Request") -> Outcome:
        """The answer to a request whose key has a claim under way."""
        while (first := self._under_way.get(request.claim_key)) is not None:
            outcome = await asyncio.shield(first.answer)
            if first.fingerprint == request.fingerprint:
                return Replayed(outcome.claim) if isinstance(outcome, Granted) else outcome
            if isinstance(outcome, Granted | Replayed):
                return KeyReused()
        return await self._begin(request)

    async def _decide_alone(self, request: "_Request") -> Outcome:
        try:
            return await self._decide(request)
        finally:
            # Here, not in a callback a tick later: `_join` would spin on the finished task, and the
            # event loop would never run that callback.
            del self._under_way[request.claim_key]

    async def _decide(self, request: "_Request", doubt: "_Doubt | None" = None) -> Outcome:
        """`doubt`: what became of the first try, if it was made together with other claims."""
        for tries in range(TRIES_MAX):
            if doubt is None:
                # 1. Price: policy and checkout make amounts, or reasons.
                now = self._clock.now()
                priced = quote(self._book, request.checkout, now)
                if _rule_reasons(request.standing, priced):
                    return await self._refuse_by_rules(request, priced)
                # 2. Admit; 3. commit; 4. settle the gate (in the background).
                outcome = await self._admit_and_commit(self._pending(request, priced, now))
                if not isinstance(outcome, _Doubt):
                    return outcome  # 5. Answer.
                doubt = outcome
            reasons = doubt.reasons
            if isinstance(doubt.stale, Taken):  # the ledger must confirm it
                reasons = await self._reasons_against(doubt.claim)
            # No refusal before it is certain that the key has no claim.
            if doubt.ask and (replay := await self._replay(request)) is not None:
                return replay
            if reasons:
                return Refused(reasons)
            if doubt.stale:
                await self._gate_forgets(doubt.claim, doubt.stale)
            doubt = None
            await asyncio.sleep(RETRY_S * tries)
        raise Overloaded

    async def _decide_together(self, flights: Sequence["_Flight"]) -> None:
        """Decides claims side by side, at most TOGETHER_MAX of them."""
        try:
            tried = await self._try_together([flight.request for flight in flights])
        except BaseException as error:
            for flight in flights:
                self._land(flight, error)
            raise
        alone = []
        for flight, result in zip(flights, tried, strict=True):
            match result:
                case _Doubt():
                    alone.append(self._land_later(flight, self._decide(flight.request, result)))
                case Quote():
                    refusal = self._refuse_by_rules(flight.request, result)
                    alone.append(self._land_later(flight, refusal))
                case _:
                    self._land(flight, result)
        await asyncio.gather(*alone)

    async def _try_together(
        self, requests: Sequence["_Request"]
    ) -> list["Granted | Refused | _Doubt | Fault | Quote"]:
        """The first try of `_decide` for each request. A Quote: the rules do not allow it."""
        now = self._clock.now()
        priced = [quote(self._book, request.checkout, now) for request in requests]
        steps = [
            one if _rule_reasons(request.standing, one) else self._pending(request, one, now)
            for request, one in zip(requests, priced, strict=True)
        ]
        claims = [step for step in steps if isinstance(step, PendingClaim)]
        decided = iter(await self._admit_and_commit_all(claims) if claims else ())
        return [next(decided) if isinstance(step, PendingClaim) else step for step in steps]

    async def _land_later(self, flight: "_Flight", work: Coroutine[Any, Any, Outcome]) -> None:
        """Answers a request that goes on alone."""
        try:
            outcome = await work
        except BaseException as error:
            self._land(flight, error)
            if not isinstance(error, FAULTS):
                raise
        else:
            self._land(flight, outcome)

    async def _reasons_against(self, claim: PendingClaim) -> LineReasons:
        standing = await self._standing_batcher.submit(claim.lines)
        return standing.reasons_against(claim.seller.retailer_id, claim.lines)

    async def _refuse_by_rules(self, request: "_Request", priced: Quote) -> Outcome:
        """The key's claim if it has one, whatever the rules say now; else a refusal with every
        reason, so that the till can correct all lines at once."""
        if (replay := await self._replay(request)) is not None:
            return replay
        return Refused(await self._all_reasons(request.standing, request.checkout, priced))

    async def admit_and_commit(self, claim: PendingClaim) -> "Granted | Refused | _Doubt":
        """The two hops of a claim that the rules allow: gate, then ledger. Raises as `claim`."""
        try:
            admission = await self._admit_batcher.submit(self._candidate(claim))
        except GateAway:
            admission = Unknown()
        match admission:
            case Admitted():
                return await self._commit_observed(claim)
            case Unknown():
                if self._gate_required:
                    raise GateAway
                metrics.gate_bypassed.inc()
                return await self._commit_observed(claim, bypassed=True)
        return self._not_admitted(claim, admission)

    async def admit_and_commit_all(
        self, claims: Sequence[PendingClaim]
    ) -> list["Granted | Refused | _Doubt | Fault"]:
        """The same for claims that share both hops, in this order."""
        try:
            admissions = await self._admit_batcher.submit_all(list(map(self._candidate, claims)))
        except GateAway:
            admissions = [Unknown()] * len(claims)
        except Overloaded as fault:
            return [fault] * len(claims)
        to_commit: list[tuple[PendingClaim, bool]] = []
        for claim, admission in zip(claims, admissions, strict=True):
            if isinstance(admission, Admitted):
                to_commit.append((claim, False))
            elif isinstance(admission, Unknown) and not self._gate_required:
                metrics.gate_bypassed.inc()
                to_commit.append((claim, True))
        committed: Iterator[Granted | _Doubt | Fault] = iter(())
        if to_commit:
            try:
                committed = iter(await self._commit_all_observed(to_commit))
            except FAULTS as fault:
                committed = repeat(fault)
        return [
            self._result(claim, admission, committed)
            for claim, admission in zip(claims, admissions, strict=True)
        ]

    def _result(
        self,
        claim: PendingClaim,
        admission: Admission,
        committed: Iterator["Granted | _Doubt | Fault"],
    ) -> "Granted | Refused | _Doubt | Fault":
        match admission:
            case Admitted():
                return next(committed)
            case Unknown():
                return GateAway() if self._gate_required else next(committed)
        return self._not_admitted(claim, admission)

    def _not_admitted(
        self, claim: PendingClaim, admission: Short | Taken | Seen | Contested
    ) -> "Refused | _Doubt":
        match admission:
            case Short(left_fen, sure):
                reasons = over_budget(claim.lines, left_fen, self._openings)
                return Refused(reasons) if sure else _Doubt(claim, reasons)
            case Taken() | Seen():
                return _Doubt(claim, stale=admission)
            case Contested():
                return _Doubt(claim)  # the ledger may have the key's claim already
        assert_never(admission)

    async def _commit(self, claim: PendingClaim, *, bypassed: bool = False) -> "Granted | _Doubt":
        try:
            verdict = await self._commit_batcher.submit((claim, bypassed))
        except (Overloaded, NeverSent):  # nothing was sent to the ledger
            self._settle_gate(undone=[claim])
            raise
        return _judged(claim, verdict)

    async def _commit_all(
        self, batch: Sequence[tuple[PendingClaim, bool]]
    ) -> list["Granted | _Doubt"]:
        claims = [claim for claim, _ in batch]
        try:
            verdicts = await self._commit_batcher.submit_all(batch)
        except (Overloaded, NeverSent):
            self._settle_gate(undone=claims)
            raise
        return list(map(_judged, claims, verdicts))

    async def _replay(self, request: "_Request") -> Replayed | KeyReused | None:
        stored = await self._key_batcher.submit(request.claim_key)
        if stored is None:
            return None
        if not self._digester.matches(request.checkout, stored.fingerprint):
            return KeyReused()
        return Replayed(stored.claim.as_first_answered())

    def _candidate(self, claim: PendingClaim) -> Candidate:
        # `sold_at` may lie ahead by this much. No claim of this body is older; one of another body
        # under the same key may be, and the till then gets this refusal instead of KeyReused.
        age = claim.created_at - claim.checkout.sold_at + SOLD_AHEAD_MAX
        return Candidate(claim, max(0, age // MS))

    def _pending(self, request: "_Request", priced: Quote, now: datetime) -> PendingClaim:
        return pending_claim(
            request.standing.seller,
            request.idempotency_key,
            request.fingerprint,
            request.checkout,
            priced,
            now,
            hold_for=self._hold_for,
            digester=self._digester,
        )

    # --- the batches, and the gate after them -------------------------------------------

    async def _commit_batch(
        self, batch: Sequence[tuple[PendingClaim, bool]]
    ) -> Sequence[CommitVerdict]:
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
        pools: Sequence[PoolState] = (),
        *,
        done: Sequence[UUID] = (),
        undone: Sequence[PendingClaim] = (),
    ) -> None:
        """In the background: an answer does not wait for the gate."""
        self._background(self._settle(pools, done, undone))

    async def _settle(
        self, pools: Sequence[PoolState], done: Sequence[UUID], undone: Sequence[PendingClaim]
    ) -> None:
        try:
            await self._gate.settle(pools, done=done, undone=undone)
        except GateAway:
            pass  # the sweeper updates the gate and ends the admissions

    async def _gate_forgets(self, claim: PendingClaim, stale: Seen | Taken) -> None:
        try:
            await self._gate.forget(claim, stale)
        except GateAway:
            pass  # without the gate its memory does not matter

    async def drain(self) -> None:
        """Wait until everything under way is answered."""
        while self._under_way:
            await asyncio.wait({flight.answer for flight in self._under_way.values()})


@value
class _Request:
    """One request for a claim."""

    standing: SellerStanding
    idempotency_key: str
    fingerprint: bytes
    checkout: Checkout

    @property
    def claim_key(self) -> ClaimKey:
        return self.standing.seller.retailer_id, self.idempotency_key


@value
class _UnderWay:
    """A claim that is being decided in this process, with the fingerprint of its body."""

    fingerprint: bytes
    answer: asyncio.Future[Outcome]


@value
class _Flight:
    """A request that is decided together with others."""

    request: _Request
    answer: asyncio.Future[Outcome]


@value
class _Doubt:
    """Not decided yet. `reasons`: against the claim; without any the claim is tried again. `ask`:
    whether the ledger must first be asked for the key's claim. `stale`: an answer from the gate's
    memory; what the ledger does not confirm, the gate forgets."""

    claim: PendingClaim
    reasons: LineReasons = ()
    ask: bool = True
    stale: Seen | Taken | None = None


def _rule_reasons(standing: SellerStanding, priced: Quote) -> LineReasons:
    """The reasons of the rules, and of the store's standing, against each line."""
    variant = "" if standing.barred == "unknown" else standing.barred
    barred = [Reason(ReasonCode.STORE_NOT_ENROLLED, variant)] if standing.barred else []
    return tuple(
        (line.line_no, reason) for line in priced.lines for reason in (*barred, *line.reasons)
    )


def _judged(claim: PendingClaim, verdict: CommitVerdict) -> Granted | _Doubt:
    match verdict:
        case Committed():
            return Granted(claim.as_answered())
        case Unfit(reasons):
            return _Doubt(claim, reasons)
        case KeyTaken():
            return _Doubt(claim)
        case GivenUp():
            return _Doubt(claim, ask=False)  # it is fenced and can commit no more: try again
    assert_never(verdict)


def _answered(answer: asyncio.Future[Outcome]) -> Outcome | Fault:
    if not answer.done():
        return LedgerAway("no answer in time")
    fault = answer.exception()
    if fault is None:
        return answer.result()
    if isinstance(fault, FAULTS):
        return fault
    raise fault
