"""The kinds of faults of a storm, and a schedule that is the same for the same seed."""

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
# Long enough for timeouts to expire, short enough for faults to overlap in their effects.
LASTS_S = (0.1, 1.0)
THEN_S = (0.2, 1.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that lasts `lasts_s`, if it lasts at all; `then_s` is the pause after it. `chance`,
    from 0 to 1, chooses the worker or the delay."""

    kind: str
    lasts_s: float
    then_s: float
    chance: float


def schedule(seed: int, faults: int) -> list[Fault]:
    """`faults` faults. Every kind comes once before any comes twice."""
    dice = random.Random(seed)
    first = dice.sample(KINDS, len(KINDS))
    kinds = [*first, *dice.choices(KINDS, k=max(0, faults - len(first)))][:faults]
    return [
        Fault(kind, dice.uniform(*LASTS_S), dice.uniform(*THEN_S), dice.random()) for kind in kinds
    ]
