"""The hops of a claim, for an observer such as traces."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypeVar

# A claim waits at the gate (`claim.admit`) and then in the ledger (`claim.commit`), with the claims
# that arrived with it. There it shares one trip with others (`gate.admit`, `ledger.commit`).
Hop = Literal["claim.admit", "claim.commit", "gate.admit", "ledger.commit"]
Work = TypeVar("Work", bound=Callable[..., Awaitable[Any]])


class Around(Protocol):
    """Wraps the work of a hop, once, when the path is built: a path without an observer pays
    nothing. The work's first argument is a sequence with the claims."""

    def __call__(self, hop: Hop, work: Work, /) -> Work: ...


def unobserved(hop: Hop, work: Work, /) -> Work:
    return work
