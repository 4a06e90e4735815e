"""The closed set of answers of the claim path. Faults are exceptions."""

from service.claims.claim import Claim
from service.core.reasons import Reason
from service.core.value import value

# (line number, reason), in line order
LineReasons = tuple[tuple[int, Reason], ...]


@value
class Granted:
    """The claim is durable in the ledger."""

    claim: Claim


@value
class Replayed:
    """The key has a claim already: this one, as first answered."""

    claim: Claim


@value
class Refused:
    """The request is valid and the answer is no. Nothing was kept."""

    reasons: LineReasons


@value
class KeyReused:
    """The key came back with another body."""


Outcome = Granted | Replayed | Refused | KeyReused


class GateAway(Exception):
    """Redis did not answer in time, takes no writes, or does not have the pools yet. `reason`: the
    first two, for operators; else empty."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
