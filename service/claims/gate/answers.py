"""The gate's answers to a claim (admit.lua)."""

from dataclasses import dataclass

from service.claims.claim import PendingClaim
from service.core.value import value


@dataclass(frozen=True, slots=True)
class Admitted:
    """The admission is recorded. The claim must now be committed or given up."""


@value
class Seen:
    """The claim `claim_id` used this key and is not in flight. The ledger knows its outcome."""

    claim_id: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A serial or a quota seems to be taken. The ledger must confirm it."""


@value
class Short:
    """A pool has less left than the claim takes, by the ledger's own rows. `left_fen` by pool.
    `sure`: the gate remembers every claim that this key can have, and there is none."""

    left_fen: dict[str, int]
    sure: bool


@dataclass(frozen=True, slots=True)
class Contested:
    """Another admission in flight has the key, or the money. Retry in a moment."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The gate does not have the pools yet. The ledger decides, if the settings allow it."""


@value
class Candidate:
    """A claim to admit. `age_ms`: an upper limit in milliseconds: no claim of this body is
    older."""

    claim: PendingClaim
    age_ms: int


Admission = Admitted | Seen | Taken | Short | Contested | Unknown


def read_admission(answer: str, left_fen: dict[str, int]) -> Admission:
    """An answer as admit.lua spells it."""
    word, _, holder = answer.partition(" ")
    match word:
        case "admitted":
            return Admitted()
        case "seen":
            return Seen(holder)
        case "taken":
            return Taken()
        case "short" | "doubtful":
            return Short(left_fen, sure=word == "short")
        case "contested":
            return Contested()
        case "unknown":
            return Unknown()
    raise AssertionError(f"Bug! The gate answered {answer}.")
