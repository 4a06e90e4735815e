"""The claim protocol as a small state model: every interleaving of a few claims and faults.

A state is a value; `steps` gives every state that can come next, each with the name of what
happened. One attempt is one worker's try at one claim; two attempts may share an idempotency key
(a till that retries elsewhere). Every claim takes 1 of the pool.

What is atomic here is atomic there: an admission is one script, a commit one call, and the
fence is written into the row that the commit must write.
"""

from collections.abc import Iterator
from typing import NamedTuple


class Mutation(NamedTuple):
    """What the protocol would be without one of its rules."""

    no_fence: bool = False  # an overdue admission is dropped without fencing its claim
    answer_first: bool = False  # the till is answered before the commit is durable
    no_version: bool = False  # whatever view comes last is stored
    no_constraint: bool = False  # the ledger trusts the gate's balance
    settle_first: bool = False  # the gate is settled before the commit is durable
    no_key: bool = False  # the ledger does not keep what key a claim came under
    no_ask: bool = False  # a refusal for want of money leaves without looking for the key's claim


class Attempt(NamedTuple):
    """`at`: new, admitted, sent (the statement is on its way), then granted, refused, lost (the
    worker is dead, or its connection broke), replayed, or ended (given up; the till tries anew)."""

    key: int
    at: str = "new"
    settled: bool = False


class Gate(NamedTuple):
    spent: int
    version: int
    admissions: frozenset[int]


class State(NamedTuple):
    attempts: tuple[Attempt, ...]
    allocated: int
    spent: int = 0
    version: int = 1
    claims: frozenset[int] = frozenset()  # attempts that are in the ledger and not refunded
    keys: frozenset[tuple[int, int]] = frozenset()  # key -> attempt, for good
    fenced: frozenset[int] = frozenset()
    given_up: frozenset[int] = frozenset()  # released as not in the ledger
    gate: Gate | None = Gate(0, 1, frozenset())
    saved: Gate | None = Gate(0, 1, frozenset())  # what an older copy of the gate holds
    refreshes: tuple[tuple[int, int] | None, ...] = (None, None)  # read, not yet stored
    fresh: bool = True  # a refresh has ended that began after the ledger's last change
    faults_left: int = 1
    refunds_left: int = 1
    answered: frozenset[tuple[int, str]] = frozenset()  # (attempt, granted or refused)

    def claim_of(self, key: int) -> int | None:
        return next((attempt for k, attempt in self.keys if k == key), None)


def steps(state: State, mutation: Mutation) -> Iterator[tuple[str, State]]:
    for n, attempt in enumerate(state.attempts):
        yield from _attempt_steps(state, n, attempt, mutation)
        yield from _sweep(state, n, attempt, mutation)
    yield from _refreshes(state, mutation)
    yield from _faults(state)
    yield from _refunds(state)


def _put(state: State, n: int, **change: object) -> tuple[Attempt, ...]:
    changed = state.attempts[n]._replace(**change)  # type: ignore[arg-type]
    return (*state.attempts[:n], changed, *state.attempts[n + 1 :])


# --- one attempt ------------------------------------------------------------------------


def _attempt_steps(
    state: State, n: int, attempt: Attempt, mutation: Mutation
) -> Iterator[tuple[str, State]]:
    if attempt.at == "new":
        yield from _admit(state, n, attempt, mutation)
    elif attempt.at == "admitted":
        if mutation.settle_first and state.gate is not None:
            early = _settle(state._replace(spent=state.spent + 1, version=state.version + 1), n)
            settled = state._replace(gate=early.gate, attempts=_put(state, n, at="sent"))
            yield f"{n} settles early", settled
        yield f"{n} sends its commit", state._replace(attempts=_put(state, n, at="sent"))
        if mutation.answer_first:
            early = _answer(state, n, "granted")
            yield f"{n} answers early", early._replace(attempts=_put(state, n, at="sent"))
    elif attempt.at in ("sent", "lost") and n not in state.claims:
        yield from _commit(state, n, attempt, mutation)
    if attempt.at == "granted" and not attempt.settled and state.gate is not None:
        yield f"{n} settles", _settle(state, n)


def _admit(
    state: State, n: int, attempt: Attempt, mutation: Mutation
) -> Iterator[tuple[str, State]]:
    claimed = state.claim_of(attempt.key) is not None
    if claimed and mutation.no_ask and state.gate and state.gate.spent >= state.allocated:
        wronged = _answer(state, n, "refused though its key has a claim")
        yield f"{n} is refused", wronged._replace(attempts=_put(state, n, at="refused"))
    elif claimed and not mutation.no_key:
        yield f"{n} is a replay", state._replace(attempts=_put(state, n, at="replayed"))
    elif state.gate is None:  # away or empty: the ledger decides alone
        yield f"{n} bypasses the gate", state._replace(attempts=_put(state, n, at="admitted"))
    elif state.gate.spent >= state.allocated:
        refused = _answer(state, n, "refused")
        yield f"{n} is refused", refused._replace(attempts=_put(state, n, at="refused"))
    elif state.gate.spent + len(state.gate.admissions) < state.allocated:
        gate = state.gate._replace(admissions=state.gate.admissions | {n})
        yield f"{n} is admitted", state._replace(attempts=_put(state, n, at="admitted"), gate=gate)


def _commit(
    state: State, n: int, attempt: Attempt, mutation: Mutation
) -> Iterator[tuple[str, State]]:
    """The statement reaches the ledger; that of a lost attempt may come late."""
    alive = attempt.at == "sent"
    if n in state.fenced:
        if alive:
            yield f"{n} finds itself given up", state._replace(attempts=_put(state, n, at="ended"))
    elif state.claim_of(attempt.key) is not None and not mutation.no_key:
        if alive:
            yield f"{n} finds its key taken", state._replace(attempts=_put(state, n, at="new"))
    elif state.spent >= state.allocated and not mutation.no_constraint:
        if alive:
            refused = _answer(state, n, "refused")
            yield f"{n} does not fit", _undo(refused, n)
    else:
        committed = state._replace(
            spent=state.spent + 1,
            version=state.version + 1,
            claims=state.claims | {n},
            keys=state.keys | {(attempt.key, n)},
            fresh=False,
        )
        if alive:
            granted = _answer(committed, n, "granted")
            yield f"{n} commits", granted._replace(attempts=_put(state, n, at="granted"))
        else:
            yield f"{n} commits late", committed


def _undo(state: State, n: int) -> State:
    gate = state.gate and state.gate._replace(admissions=state.gate.admissions - {n})
    return state._replace(attempts=_put(state, n, at="refused"), gate=gate)


def _answer(state: State, n: int, word: str) -> State:
    return state._replace(answered=state.answered | {(n, word)})


def _settle(state: State, n: int) -> State:
    """The view as of the commit may be old by now; then it is not stored."""
    assert state.gate is not None
    gate = _stored(state.gate, (state.spent, state.version), Mutation())
    gate = gate._replace(admissions=gate.admissions - {n})
    return state._replace(attempts=_put(state, n, settled=True), gate=gate)


# --- the sweeper ------------------------------------------------------------------------


def _sweep(
    state: State, n: int, attempt: Attempt, mutation: Mutation
) -> Iterator[tuple[str, State]]:
    """An admission whose attempt is lost is overdue, and so may be one that is only slow."""
    if state.gate is None or n not in state.gate.admissions or attempt.at not in ("lost", "sent"):
        return
    gate = state.gate._replace(admissions=state.gate.admissions - {n})
    if any(n == made for _, made in state.keys):
        yield f"{n} turns out committed", state._replace(gate=gate)
        return
    fenced = state.fenced if mutation.no_fence else state.fenced | {n}
    given_up = state.given_up | {n}
    yield f"{n} is given up", state._replace(fenced=fenced, given_up=given_up, gate=gate)


def _refreshes(state: State, mutation: Mutation) -> Iterator[tuple[str, State]]:
    """Two sweepers bring the gate the ledger's view, each by reading and then storing."""
    for n, read in enumerate(state.refreshes):
        if read is None:
            if not state.fresh or state.gate is None:
                begun = _put_refresh(state, n, (state.spent, state.version))
                yield f"sweeper {n} reads", begun
            continue
        gate = state.gate or Gate(0, -1, frozenset())
        stored = _stored(gate, read, mutation)
        ended = _put_refresh(state, n, None)
        yield (
            f"sweeper {n} stores",
            ended._replace(gate=stored, fresh=state.fresh or read[1] == state.version),
        )


def _put_refresh(state: State, n: int, read: tuple[int, int] | None) -> State:
    refreshes = (*state.refreshes[:n], read, *state.refreshes[n + 1 :])
    return state._replace(refreshes=refreshes)


def _stored(gate: Gate, view: tuple[int, int], mutation: Mutation) -> Gate:
    spent, version = view
    if version > gate.version or mutation.no_version:
        return gate._replace(spent=spent, version=version)
    return gate


# --- what goes wrong, and what comes back -----------------------------------------------


def _faults(state: State) -> Iterator[tuple[str, State]]:
    if not state.faults_left:
        return
    worse = state._replace(faults_left=state.faults_left - 1)
    for n, attempt in enumerate(state.attempts):
        if attempt.at in ("admitted", "sent"):
            yield f"worker of {n} dies", worse._replace(attempts=_put(worse, n, at="lost"))
    if state.gate is not None:
        yield "the gate is emptied", worse._replace(gate=None, fresh=False)
        yield "the gate is copied", worse._replace(saved=state.gate)
        if state.saved != state.gate:
            yield "the gate goes back", worse._replace(gate=state.saved, fresh=False)


def _refunds(state: State) -> Iterator[tuple[str, State]]:
    if not state.refunds_left:
        return
    for n in state.claims:
        if state.attempts[n].settled:
            yield (
                f"{n} is refunded",
                state._replace(
                    refunds_left=state.refunds_left - 1,
                    claims=state.claims - {n},
                    spent=state.spent - 1,
                    version=state.version + 1,
                    fresh=False,
                ),
            )
