"""Every state that can be reached, and the first that must not be."""

from collections import deque

from tests.model.protocol import Attempt, Mutation, State, steps


def broken(state: State) -> str:
    """What is wrong with this state; nothing, for every state of the protocol as it is."""
    if state.spent > state.allocated:
        return "overspent"
    if state.spent != len(state.claims):
        return "spent is not what the claims took"
    if len({key for key, _ in state.keys}) != len(state.keys):
        return "a key has two claims"
    made = {attempt for _, attempt in state.keys}
    for n, word in state.answered:
        if word not in ("granted", "refused"):
            return f"{n} was {word}"
        if word == "granted" and n not in made:
            return f"{n} was answered granted and is not in the ledger"
        if word == "refused" and _is_over(state) and state.claim_of(state.attempts[n].key) == n:
            return f"{n} was answered refused and has a claim"
    if late := state.given_up & made:
        return f"{sorted(late)} were given up and committed later"
    return _at_rest(state)


def _is_over(state: State) -> bool:
    return all(attempt.at not in ("new", "admitted", "sent") for attempt in state.attempts)


def _at_rest(state: State) -> str:
    """Nothing is on its way, and a refresh has ended since the last change."""
    if not (_is_over(state) and state.fresh and state.gate and not any(state.refreshes)):
        return ""
    if any(attempt.at == "granted" and not attempt.settled for attempt in state.attempts):
        return ""
    if any(attempt.at == "lost" for attempt in state.attempts):
        return ""  # a late commit may still come, or a sweep
    if state.gate.admissions:
        return ""  # of before an older copy: the sweeper has yet to end them
    if state.gate.spent != state.spent:
        return f"at rest the gate says {state.gate.spent} and the ledger {state.spent}"
    return ""


def explore(
    keys: tuple[int, ...], allocated: int, mutation: Mutation, faults: int
) -> tuple[int, list[str]]:
    """(states seen, the shortest way to a broken one; empty when there is none)."""
    attempts = tuple(Attempt(key) for key in keys)
    first = State(attempts, allocated, faults_left=faults)
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        if fault := broken(state):
            return len(came_from), [*_way_to(state, came_from), fault]
        for name, following in steps(state, mutation):
            if following not in came_from:
                came_from[following] = (state, name)
                queue.append(following)
    return len(came_from), []


def _way_to(state: State, came_from: dict[State, tuple[State, str] | None]) -> list[str]:
    way: list[str] = []
    while (step := came_from[state]) is not None:
        state, name = step
        way.append(name)
    return way[::-1]
