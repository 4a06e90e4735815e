"""The highest price that is subsidised, and the cap of a subsidy that is a share of the price."""

from collections.abc import Iterator, Mapping

from service.core.fact import Fact, Fen
from service.core.money import yuan
from service.core.reasons import Reason, ReasonCode
from service.core.rules.grade import GradeTerms
from service.core.rules.subject import Cells, Mark, Sale, Sentences, TermsFault
from service.core.rules.window import InForce
from service.core.sentences import Sentence


class PriceTerms(GradeTerms):
    """Amounts in fen for one item. A price of exactly `price_max_fen` is subsidised."""

    cap_fen: Fact[Fen] | None = None
    price_max_fen: Fact[Fen] | None = None


def price_within_limit(terms: PriceTerms, sale: Sale) -> Reason | None:
    limit = terms.price_max_fen
    if limit is None or sale.item.price_fen <= limit.value:
        return None
    return Reason(ReasonCode.PRICE_OVER_LIMIT, facts={"limit_fen": limit.value})


def cap_of(terms: PriceTerms, facts: Mapping[str, int | str]) -> int | None:
    return terms.cap_fen.value if terms.cap_fen else None


CHECKS = (price_within_limit,)


def faults(terms: PriceTerms, in_force: InForce) -> Iterator[TermsFault]:
    if terms.by_rate != (terms.cap_fen is not None):
        yield None, "a rate needs a cap_fen, and tiers have none"


def cells(terms: PriceTerms, mark: Mark) -> Cells:
    if cap := terms.cap_fen:
        yield "cap, yuan", f"{yuan(cap.value)} {mark(cap)}"
    if limit := terms.price_max_fen:
        yield "conditions", f"price up to {yuan(limit.value)} {mark(limit)}"


SENTENCES: Sentences = {
    (ReasonCode.PRICE_OVER_LIMIT, ""): (
        Sentence(
            "单价超过 {limit_fen} 元，不予补贴，请核对优惠后的最终售价，或请顾客改选商品。",
            "The price is above {limit_fen} yuan, the highest that is subsidised. Check the final "
            "price after discounts, or offer the customer another product.",
        ),
    ),
}
