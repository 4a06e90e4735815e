"""What a storm is made of: kinds of faults, and a schedule that a seed replays."""

import random
from dataclasses import dataclass

KINDS = (
    "worker killed",
    "worker stopped",
    "worker restarted",
    "valkey restarted, kept",
    "valkey restarted, empty",
    "valkey restarted, older",
    "valkey stopped",
    "postgres killed",
    "postgres restarted",
    "postgres stopped",
    "both killed",
    "ledger cut",
    "ledger slow",
    "ledger swallowed",
    "ledger stranded",
    "gate cut",
    "gate slow",
    "gate swallowed",
    "gate stranded",
)
# Long enough for timeouts to pass, short enough for the next fault to meet what this one left.
LASTS_S = (0.1, 1.0)
THEN_S = (0.2, 1.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """`lasts_s`, where it lasts; then calm for `then_s`. `chance`, from 0 to 1, says which worker
    it hits, and how slow."""

    kind: str
    lasts_s: float
    then_s: float
    chance: float


def schedule(seed: int, faults: int) -> list[Fault]:
    """The same for the same seed; every kind comes once before any comes twice."""
    dice = random.Random(seed)
    first = dice.sample(KINDS, len(KINDS))
    kinds = [*first, *dice.choices(KINDS, k=max(0, faults - len(first)))][:faults]
    return [
        Fault(kind, dice.uniform(*LASTS_S), dice.uniform(*THEN_S), dice.random()) for kind in kinds
    ]
