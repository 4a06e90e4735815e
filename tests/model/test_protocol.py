"""No interleaving of three claims and two faults breaks the protocol; each rule left out does."""

import pytest

from tests.model.explore import explore
from tests.model.protocol import Mutation

# Attempts by idempotency key, and how many claims the pool holds.
SCENES = {
    "two tills, one key, a retry": ((1, 1, 2), 1),
    "three tills, money for two": ((1, 2, 3), 2),
}


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("faults", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize("scene", SCENES)
def test_no_interleaving_breaks_the_protocol(scene: str, faults: int) -> None:
    states, way = explore(*SCENES[scene], Mutation(), faults)
    print(f"{states} states")
    assert way == []


@pytest.mark.parametrize("rule", Mutation._fields)
def test_without_any_of_its_rules_it_breaks(rule: str) -> None:
    mutation = Mutation(**{rule: True})
    ways = (explore(keys, allocated, mutation, faults=1)[1] for keys, allocated in SCENES.values())
    way = next(filter(None, ways), [])  # the shortest in the first scene that has one
    print(rule, *way, sep="\n  ")
    assert way
