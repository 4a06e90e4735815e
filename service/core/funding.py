"""Who bears how much of a subsidy: whole fen that sum to the amount."""

from typing import NamedTuple

from service.core.money import WHOLE_BP
from service.core.policy import Funding


class Shares(NamedTuple):
    """The shares of one entry, in fen. A refund's are negative."""

    centre_fen: int
    province_fen: int
    city_fen: int
    district_fen: int


def rates_of(funding: Funding) -> tuple[int, int, int, int]:
    """Basis points of centre, province, city and district."""
    parts = (funding.centre_bp, funding.province_bp, funding.city_bp, funding.district_bp)
    centre, province, city, district = (part.value for part in parts)
    return centre, province, city, district


def funding_shares(amount_fen: int, rates_bp: tuple[int, int, int, int]) -> Shares:
    """Split by the largest remainder; of equal remainders the higher level comes first.

    The sign is taken out first: a refund's shares are the exact negative of its grant's.
    The ledger's own `funding_shares` does the same.
    """
    sign = -1 if amount_fen < 0 else 1
    whole, odd = zip(*(divmod(abs(amount_fen) * rate, WHOLE_BP) for rate in rates_bp), strict=True)
    left_over = abs(amount_fen) - sum(whole)
    first = sorted(range(len(rates_bp)), key=lambda at: -odd[at])[:left_over]
    return Shares(*(sign * (share + (at in first)) for at, share in enumerate(whole)))
