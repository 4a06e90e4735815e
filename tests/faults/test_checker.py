"""The checker finds each breach that is planted in good books."""

import copy
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.faults.books import Books
from tests.faults.checker import breaches
from tests.faults.history import History, Sale

CLAIM = UUID("019780c3-c9da-76f1-8a29-36f05201f175")
OTHER = UUID("019780c3-c9da-76f1-8a29-36f05201f176")
QUOTA = {"subject": "ab", "quota": "tv", "period": "2026", "amount": 1, "restored": True}


def good() -> tuple[History, Books]:
    """One claim of 500 fen, granted, answered, booked and settled."""
    sale = Sale("k1", {"hold": False}, [{"claim_id": str(CLAIM), "subsidy_fen": 500}])
    books = Books(
        claims=[
            {
                "claim_id": CLAIM,
                "retailer_id": "r1",
                "idempotency_key": "k1",
                "subsidy_fen": 500,
                "state": "confirmed",
            }
        ],
        lines=[
            {
                "claim_id": CLAIM,
                "line_no": 1,
                "serial_no": "S1",
                "pool": "appliances",
                "state": "confirmed",
                "subsidy_fen": 500,
                "quotas": [QUOTA],
            }
        ],
        pools=[
            {
                "pool": "appliances",
                "allocated_fen": 900,
                "confirmed_fen": 500,
                "reserved_fen": 0,
            }
        ],
        journal=[
            {
                "claim_id": CLAIM,
                "line_no": 1,
                "kind": "grant",
                "pool": "appliances",
                "amount_fen": 500,
            }
        ],
        serials=[{"serial_no": "S1"}],
        quota_uses=[
            {"subject": b"\xab", "quota": "tv", "period": "2026", "used": 1, "used_max": 1}
        ],
        gate={"appliances": {"allocated": 900, "spent": 500, "version": 3, "flying": 0}},
    )
    return History([sale]), books


def lost(history: History, books: Books) -> None:
    books.claims.clear()


def other_amount(history: History, books: Books) -> None:
    history.sales[0].granted[0]["subsidy_fen"] = 499


def two_answers(history: History, books: Books) -> None:
    history.sales[0].granted.append({"claim_id": str(OTHER), "subsidy_fen": 500})


def refused_and_granted(history: History, books: Books) -> None:
    history.sales[0].granted.clear()
    history.sales[0].refused = True


def undone(history: History, books: Books) -> None:
    history.sales[0].checkout["hold"] = True
    history.sales[0].ended = "cancelled"


def not_refunded(history: History, books: Books) -> None:
    history.sales[0].refunded = True


def double_key(history: History, books: Books) -> None:
    books.claims.append({**copy.deepcopy(books.claims[0]), "claim_id": OTHER})


def double_serial(history: History, books: Books) -> None:
    books.lines.append({**copy.deepcopy(books.lines[0]), "claim_id": OTHER})


def serial_free(history: History, books: Books) -> None:
    books.serials.clear()


def booked_twice(history: History, books: Books) -> None:
    books.journal.append(dict(books.journal[0]))


def quota_unbooked(history: History, books: Books) -> None:
    books.quota_uses.clear()


def quota_exceeded(history: History, books: Books) -> None:
    books.quota_uses[0]["used_max"] = 0


def overspent(history: History, books: Books) -> None:
    books.pools[0]["allocated_fen"] = 499


def pool_off(history: History, books: Books) -> None:
    books.pools[0]["reserved_fen"] = 1


def gate_off(history: History, books: Books) -> None:
    books.gate["appliances"]["spent"] = 501


def flying(history: History, books: Books) -> None:
    books.admissions = 1


def strange(history: History, books: Books) -> None:
    history.strange.append("/v1/claims was answered 500")


PLANTED: dict[Callable[[History, Books], None], str] = {
    lost: "lost",
    other_amount: "another amount",
    two_answers: "2 claims",
    refused_and_granted: "was refused and has a claim",
    undone: "answered cancelled and is confirmed",
    not_refunded: "answered refunded",
    double_key: "double grant: key",
    double_serial: "double grant: serial",
    serial_free: "serials held",
    booked_twice: "booked twice",
    quota_unbooked: "not booked",
    quota_exceeded: "was exceeded",
    overspent: "overspend",
    pool_off: "reserved is 1",
    gate_off: "drift: the gate has",
    flying: "in flight at rest",
    strange: "answered 500",
}


def test_books_that_tie_have_no_breach() -> None:
    assert breaches(*good()) == []


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: str(plant.__name__))
def test_each_planted_breach_is_named(plant: Any) -> None:
    history, books = good()
    plant(history, books)
    assert any(PLANTED[plant] in breach for breach in breaches(history, books))
