"""Money: integer fen, rates in basis points. No float ever touches it."""

from typing import Literal

Rounding = Literal["down", "half_up"]

WHOLE_BP = 10_000  # 100 %


def share_fen(amount_fen: int, rate_bp: int, rounding: Rounding) -> int:
    """`rate_bp` of an amount, in whole fen. `amount_fen` is not negative."""
    odd_fen = WHOLE_BP // 2 if rounding == "half_up" else 0
    return (amount_fen * rate_bp + odd_fen) // WHOLE_BP


def yuan(amount_fen: int) -> str:
    """An amount in fen as people read it, in yuan: "1,999.99", "-0.50"."""
    sign = "-" if amount_fen < 0 else ""
    whole, fen = divmod(abs(amount_fen), 100)
    return f"{sign}{whole:,}.{fen:02d}"


def percent(rate_bp: int) -> str:
    """A rate as people read it: "15 %", "12.5 %"."""
    whole, rest = divmod(rate_bp, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + " %"
