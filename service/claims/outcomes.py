"""The closed set of answers that the claim path gives. Faults are exceptions, below."""

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
    """The key has its claim already: this is it, as first answered."""

    claim: Claim


@value
class Refused:
    """The request is fine and the answer is no. Nothing was kept."""

    reasons: LineReasons


@value
class KeyReused:
    """The key came back with another body."""


Outcome = Granted | Replayed | Refused | KeyReused


class GateAway(Exception):
    """Redis did not answer in time, or does not know the pools yet."""
