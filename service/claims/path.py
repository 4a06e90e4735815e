"""The claim path, from top to bottom: price, admit, commit, settle the gate, answer.

The ledger alone grants. The gate in front of it refuses fast. Without the gate the ledger decides
alone or, if the settings require a gate, claims raise GateAway. No grant leaves before the claim is
durable. No refusal leaves before the ledger was asked for the key's claim, or the gate remembers
far enough back to know that there is none: a retry must get the answer of the first request.

The steps are in `ClaimPath._try`, which takes them for all claims that arrived in one turn of the
event loop, so that they share a task and a place in each queue. They wait in the gate's queue and,
if they are admitted, in the ledger's, and share each round trip with the claims that queue at the
same time. A claim that a try neither grants nor refuses goes on by itself (`_decide`).
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import repeat, starmap
from typing import assert_never
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

# Large enough to share the fixed cost of a round trip. The best of 32, 48, 64, 96 and 128 at 256
# connections. With fewer claims under way a batch has a third of them, so that the service works on
# one third while the others are at the gate and in the ledger; but a few claims go together.
BATCH_MAX = 64
BATCH_SHARE = 3
BATCH_MIN = 24
QUEUE_MAX = 2048
# The claims of one request that share their steps. No till waits for one of them alone, and groups
# of 250 took a quarter less CPU time than groups of 64, in the service and in both engines.
TOGETHER_MAX = 250
# The lines of one group: a call to the gate must stay far below its timeout.
LINES_MAX = 500

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
        self._under_way: dict[ClaimKey, _Flight] = {}
        self._arrived: list[_Flight] = []  # in this turn of the event loop
        self._background = background
        self._openings = openings
        self._is_observed = around is not unobserved
        self._admit_and_commit = around("claim.admit", self.admit_and_commit)
        self._commit_observed = around("claim.commit", self._commit)
        self._admit_batcher = MicroBatcher[Candidate, Admission](
            around("gate.admit", gate.admit),
            batch_max=self._batch_max,
            queue_max=QUEUE_MAX,
            on_batch=metrics.gate_batch_size.observe,
        )
        self._commit_batcher = MicroBatcher[tuple[PendingClaim, bool], CommitVerdict](
            around("ledger.commit", self._commit_batch),
            batch_max=self._batch_max,
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
        request = self._request(standing, idempotency_key, checkout)
        if request.claim_key in self._under_way:
            async with answered_within(self._answer_within_s):
                return await self._join(request)
        return await self._patience.wait_for(self._begin(request))

    async def claims(self, asked: Sequence[Submission]) -> list["Outcome | Exception"]:
        """The answers to many claims, each as if it came alone, in this order. One that fails has
        the fault or the bug as its answer; one that takes too long has LedgerAway, and goes on."""
        answers: list[asyncio.Future[Outcome]] = []
        fresh: list[_Flight] = []
        requests = list(starmap(self._request, asked))  # before any of them is under way
        for request in requests:
            if request.claim_key in self._under_way:  # perhaps by an earlier one of these
                answers.append(asyncio.create_task(self._join(request)))
            else:
                fresh.append(flight := self._take_off(request))
                answers.append(flight.awaited())
        self._decide_in_groups(fresh, TOGETHER_MAX)
        with suppress(LedgerAway):  # what is decided by then is answered
            async with answered_within(self._answer_within_s):
                for answer in answers:
                    with suppress(Exception):  # it is that claim's answer
                        await answer
        for answer in answers:
            if isinstance(answer, asyncio.Task):
                answer.cancel()  # a join that still waits; a claim goes on
        return list(map(_answered, answers))

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

    def _request(
        self, standing: SellerStanding, idempotency_key: str, checkout: Checkout
    ) -> "_Request":
        fingerprint = self._digester.fingerprint(checkout)
        context = copy_context() if self._is_observed else None
        return _Request(standing, idempotency_key, fingerprint, checkout, context)

    def _begin(self, request: "_Request") -> asyncio.Future[Outcome]:
        """The outcome of a claim that begins, with those that arrive in this turn of the loop."""
        if not self._arrived:
            # In a context of its own: the first one's request id is not that of the others.
            asyncio.get_running_loop().call_soon(self._depart, context=Context())
        self._arrived.append(flight := self._take_off(request))
        return flight.awaited()

    def _take_off(self, request: "_Request") -> "_Flight":
        """The claim is under way. If its till hangs up or waits too long, it goes on: a retry joins
        it, or finds its outcome in the ledger."""
        flight = self._under_way[request.claim_key] = _Flight(request, [])
        return flight

    def _depart(self) -> None:
        flights, self._arrived = self._arrived, []
        self._decide_in_groups(flights, self._batch_max())

    def _decide_in_groups(self, flights: Sequence["_Flight"], group_max: int) -> None:
        group: list[_Flight] = []
        lines = 0
        for flight in flights:
            more = len(flight.request.checkout.items)
            if group and (len(group) == group_max or lines + more > LINES_MAX):
                self._background(self._decide_together(group))
                group, lines = [], 0
            group.append(flight)
            lines += more
        if group:
            self._background(self._decide_together(group))

    async def _join(self, request: "_Request") -> Outcome:
        """The answer to a request whose key has a claim under way."""
        while (first := self._under_way.get(request.claim_key)) is not None:
            outcome = await first.awaited()
            if first.request.fingerprint == request.fingerprint:
                return Replayed(outcome.claim) if isinstance(outcome, Granted) else outcome
            if isinstance(outcome, Granted | Replayed):
                return KeyReused()
        return await self._begin(request)

    async def _decide_together(self, flights: Sequence["_Flight"]) -> None:
        """Decides at most TOGETHER_MAX claims."""
        try:
            results = await self._try([flight.request for flight in flights])
            assert len(results) == len(flights), "Bug! A claim has no result."
        except BaseException as error:
            for flight in flights:
                self._land(flight, error)
            if not isinstance(error, Exception):
                raise
            return
        undecided = []
        for flight, result in zip(flights, results, strict=True):
            if isinstance(result, _Doubt | Quote):
                undecided.append(self._go_on(flight, result))
            else:
                self._land(flight, result)
        if undecided:
            await asyncio.gather(*undecided)

    async def _go_on(self, flight: "_Flight", result: "_Doubt | Quote") -> None:
        try:
            outcome = await self._decide(flight.request, result)
        except BaseException as error:
            self._land(flight, error)
            if not isinstance(error, Exception):
                raise
        else:
            self._land(flight, outcome)

    def _land(self, flight: "_Flight", outcome: "Outcome | BaseException") -> None:
        """Answer all requests that wait for this claim, with its outcome or a fault."""
        del self._under_way[flight.request.claim_key]
        flight.land(outcome)

    async def _try(self, requests: Sequence["_Request"]) -> list["_Result"]:
        """One try for each request. A Quote: the rules do not allow it."""
        now = self._clock.now()
        # 1. Price: policy and checkout make amounts, or reasons.
        steps = [self._priced(request, now) for request in requests]
        claims = [step for step in steps if isinstance(step, PendingClaim)]
        # 2. Admit; 3. commit; 4. settle the gate (in the background).
        decided = iter(await self._admit_and_commit(claims) if claims else ())
        # 5. Answer.
        return [next(decided) if isinstance(step, PendingClaim) else step for step in steps]

    def _priced(self, request: "_Request", now: datetime) -> PendingClaim | Quote | Exception:
        """The claim; or its quote, if the rules do not allow it; or a bug, which must not affect
        the others."""
        try:
            priced = quote(self._book, request.checkout, now)
            if _rule_reasons(request.standing, priced):
                return priced
            return self._pending(request, priced, now)
        except Exception as bug:
            return bug

    async def _decide(self, request: "_Request", result: "_Result") -> Outcome:
        """Tries again until the claim is decided. Raises Overloaded after TRIES_MAX tries."""
        tries = 0
        while isinstance(result, _Doubt):
            if (outcome := await self._outcome_of(request, result)) is not None:
                return outcome
            tries += 1
            if tries == TRIES_MAX:
                raise Overloaded
            await asyncio.sleep(RETRY_S * (tries - 1))
            (result,) = await self._try([request])
        if isinstance(result, Quote):
            return await self._refuse_by_rules(request, result)
        if isinstance(result, Exception):
            raise result
        return result

    async def _outcome_of(self, request: "_Request", doubt: "_Doubt") -> Outcome | None:
        """What the ledger says of a claim in doubt. None: it must be tried again."""
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
        return None

    async def _reasons_against(self, claim: PendingClaim) -> LineReasons:
        standing = await self._standing_batcher.submit(claim.lines)
        return standing.reasons_against(claim.seller.retailer_id, claim.lines)

    async def _refuse_by_rules(self, request: "_Request", priced: Quote) -> Outcome:
        """The key's claim if it has one, whatever the rules say now; else a refusal with every
        reason, so that the till can correct all lines at once."""
        if (replay := await self._replay(request)) is not None:
            return replay
        return Refused(await self._all_reasons(request.standing, request.checkout, priced))

    async def admit_and_commit(
        self, claims: Sequence[PendingClaim]
    ) -> list["Granted | Refused | _Doubt | Fault"]:
        """The two hops of claims that the rules allow: gate, then ledger."""
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
                committed = iter(await self._commit_observed(to_commit))
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

    async def _commit(self, batch: Sequence[tuple[PendingClaim, bool]]) -> list["Granted | _Doubt"]:
        claims = [claim for claim, _ in batch]
        try:
            verdicts = await self._commit_batcher.submit_all(batch)
        except (Overloaded, NeverSent):  # nothing was sent to the ledger
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
        claim = pending_claim(
            request.standing.seller,
            request.idempotency_key,
            request.fingerprint,
            request.checkout,
            priced,
            now,
            hold_for=self._hold_for,
            digester=self._digester,
        )
        claim.context = request.context
        return claim

    # --- the batches, and the gate after them -------------------------------------------

    def _batch_max(self) -> int:
        """How many claims share a round trip now."""
        return min(BATCH_MAX, max(BATCH_MIN, len(self._under_way) // BATCH_SHARE))

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
            await asyncio.wait({flight.awaited() for flight in self._under_way.values()})


@value
class _Request:
    """One request for a claim. `context`: its context variables, for an observer."""

    standing: SellerStanding
    idempotency_key: str
    fingerprint: bytes
    checkout: Checkout
    context: Context | None

    @property
    def claim_key(self) -> ClaimKey:
        return self.standing.seller.retailer_id, self.idempotency_key


@dataclass(slots=True, eq=False)
class _Flight:
    """A claim that is being decided in this process, and the requests that wait for its outcome."""

    request: _Request
    waiting: list[asyncio.Future[Outcome]]

    def awaited(self) -> asyncio.Future[Outcome]:
        """A new future of the outcome."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    def land(self, outcome: Outcome | BaseException) -> None:
        for future in self.waiting:
            if future.done():  # a till that waited too long
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
                future.exception()  # else asyncio logs one that is never retrieved
            elif isinstance(outcome, BaseException):
                future.cancel()
            else:
                future.set_result(outcome)


@value
class _Doubt:
    """Not decided yet. `reasons`: against the claim; without any the claim is tried again. `ask`:
    whether the ledger must first be asked for the key's claim. `stale`: an answer from the gate's
    memory; what the ledger does not confirm, the gate forgets."""

    claim: PendingClaim
    reasons: LineReasons = ()
    ask: bool = True
    stale: Seen | Taken | None = None


_Result = Granted | Refused | _Doubt | Quote | Exception


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


def _answered(answer: asyncio.Future[Outcome]) -> Outcome | Exception:
    if not answer.done() or answer.cancelled():
        return LedgerAway("no answer in time")
    fault = answer.exception()
    if fault is None:
        return answer.result()
    assert isinstance(fault, Exception), "Bug! A cancelled future has no exception."
    return fault
