"""The closed set of answers that the claim path gives. Faults are exceptions, below."""

from dataclasses import dataclass

from service.claims.claim import Claim
from service.core.reasons import Reason

# (line number, reason), in line order
LineReasons = tuple[tuple[int, Reason], ...]


@dataclass(frozen=True, slots=True)
class Granted:
    """The claim is durable in the ledger."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Replayed:
    """The key has its claim already: this is it, as first answered."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is fine and the answer is no. Nothing was kept."""

    reasons: LineReasons


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The key came back with another body."""


Outcome = Granted | Replayed | Refused | KeyReused


class GateAway(Exception):
    """Redis did not answer in time, or does not know the pools yet."""
