"""Signs of money: what a row of the file moved, by its sign, its state and its refund column."""

from typing import Literal

RowsAre = Literal["sales", "movements"]
Movement = Literal["payment", "refund"]

# States of a row that gave money back, and of a row that moved none.
RETURNED = frozenset({"refunded", "partly_refunded"})
UNPAID = frozenset({"reserved", "cancelled", "expired"})


class PaymentAndRefund(Exception):
    """A row has a payment and a refund, and neither its state nor equal amounts decide between
    them."""


def signed_fen(amount_fen: int, refund_fen: int, state: str | None) -> int:
    """The amount that a row moved, in fen: negative for a refund, 0 if it moved nothing. Files
    write the sign of a refund in either way. `refund_fen`: the row's own refund column, or 0.
    Raises PaymentAndRefund."""
    if refund_fen:
        is_same = abs(amount_fen) in (0, abs(refund_fen))  # else one amount would vanish
        if not is_same or (amount_fen > 0 and state not in RETURNED):
            raise PaymentAndRefund
        return -abs(refund_fen)
    if state in UNPAID:
        return 0
    return -abs(amount_fen) if state in RETURNED else amount_fen


def is_refund(fen: int, state: str | None) -> bool:
    """Whether a row is compared with the refunds: by its state, if it moved nothing."""
    return fen < 0 or (fen == 0 and state in RETURNED)


def movement_of(fen: int) -> Movement:
    """The kind of a signed amount that is not 0."""
    return "refund" if fen < 0 else "payment"
