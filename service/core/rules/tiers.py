"""A fixed sum by price, where the subsidy is no share of it."""

from collections.abc import Iterator
from itertools import pairwise

from service.core.fact import Fact, Fen, Frozen
from service.core.money import yuan
from service.core.reasons import Reason, ReasonCode
from service.core.rules.grade import GradeTerms
from service.core.rules.subject import Cells, Mark, Sale, Sentences, TermsFault
from service.core.rules.window import InForce
from service.core.sentences import Sentence


class Tier(Frozen):
    """A fixed sum for a price from `from_fen` on, up to the next tier."""

    from_fen: Fact[Fen]
    sum_fen: Fact[Fen]


class TierTerms(GradeTerms):
    """Tiers rise from the lowest price; a price below all of them gets nothing."""

    tiers: tuple[Tier, ...] = ()

    def tier_of(self, price_fen: int) -> Tier | None:
        """The highest tier that a price reaches."""
        reached = (tier for tier in self.tiers if tier.from_fen.value <= price_fen)
        return max(reached, key=lambda tier: tier.from_fen.value, default=None)


def lowest_tier_reached(terms: TierTerms, sale: Sale) -> Reason | None:
    tiers = terms.tiers
    if not tiers or sale.item.price_fen >= tiers[0].from_fen.value:
        return None
    return Reason(ReasonCode.BELOW_LOWEST_TIER, facts={"lowest_fen": tiers[0].from_fen.value})


CHECKS = (lowest_tier_reached,)


def faults(terms: TierTerms, in_force: InForce) -> Iterator[TermsFault]:
    if terms.by_rate == bool(terms.tiers):
        yield None, "needs either a rate (rate_bp, grades) or tiers"
    for tier in terms.tiers:
        if tier.sum_fen.value > tier.from_fen.value:
            yield tier.sum_fen.id, "is more than the lowest price that it is paid for"
    for lower, higher in pairwise(terms.tiers):
        if lower.from_fen.value >= higher.from_fen.value:
            yield higher.from_fen.id, "is out of order: tiers rise from the lowest price"


def cells(terms: TierTerms, mark: Mark) -> Cells:
    for tier in terms.tiers:
        yield (
            "subsidy",
            f"from {yuan(tier.from_fen.value)} {mark(tier.from_fen)}: "
            f"{yuan(tier.sum_fen.value)} {mark(tier.sum_fen)}",
        )


SENTENCES: Sentences = {
    (ReasonCode.BELOW_LOWEST_TIER, ""): (
        Sentence(
            "新车价格低于 {lowest_fen} 元，不予补贴，请核对成交价；价格无误则按原价收款。",
            "The new car costs less than {lowest_fen} yuan, the lowest price that is subsidised. "
            "Check the price; if it is right, charge it in full.",
        ),
    ),
}
