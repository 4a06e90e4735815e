"""The requests of the tills and their answers, which the checker compares with the books."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Sale:
    """A sale under one Idempotency-Key, with every answer to it."""

    key: str
    checkout: dict[str, Any]
    granted: list[dict[str, Any]] = field(default_factory=list)  # the claims answered with 201
    refused: bool = False  # the last answer was 409
    ended: str = ""  # "confirmed" or "cancelled", when a hold's end was answered with 200
    refunded: bool = False  # answered with 201


@dataclass
class Counts:
    """Requests by their outcome."""

    answered: int = 0
    granted: int = 0
    refused: int = 0
    retried: int = 0


@dataclass
class History:
    sales: list[Sale] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    strange: list[str] = field(default_factory=list)  # answers that are never right
