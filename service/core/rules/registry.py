"""Every rule in its order. A new rule is a file in this folder and an entry in these tables."""

from collections.abc import Callable, Iterator, Mapping

from service.core.reasons import Reason
from service.core.rules import (
    age,
    area,
    coverage,
    grade,
    price,
    quota,
    serial,
    tiers,
    trade_in,
    window,
)
from service.core.rules.age import AgeTerms
from service.core.rules.area import AreaTerms
from service.core.rules.price import PriceTerms
from service.core.rules.quota import QuotaTerms
from service.core.rules.serial import SerialTerms
from service.core.rules.subject import Cells, Mark, Sale, Sentences, TermsFault
from service.core.rules.tiers import TierTerms
from service.core.rules.trade_in import TradeInTerms
from service.core.rules.window import InForce, WindowTerms


# pydantic takes the last base first: read from the right, this is the order of a policy file.
class Terms(
    AreaTerms,
    SerialTerms,
    AgeTerms,
    TradeInTerms,
    QuotaTerms,
    TierTerms,
    PriceTerms,
    WindowTerms,
):
    """What a scheme, a group or a category may lay down; the narrower one prevails."""


# The lowest is the cap of a subsidy that is a share of the price.
CAPS: tuple[Callable[[Terms, Mapping[str, int | str]], int | None], ...] = (
    price.cap_of,
    area.cap_of,
)

# A refused line has its reasons in this order. A category that says nothing of a kind passes
# that rule.
CHECKS: tuple[Callable[[Terms, Sale], Reason | None], ...] = (
    *grade.CHECKS,
    *price.CHECKS,
    *tiers.CHECKS,
    grade.worth_a_fen,  # only a price within the limits is asked for a subsidy
    *trade_in.CHECKS,
    *age.CHECKS,
    *area.CHECKS,
    *serial.CHECKS,
)

FAULTS: tuple[Callable[[Terms, InForce], Iterator[TermsFault]], ...] = (
    window.faults,
    price.faults,
    tiers.faults,
    quota.faults,
    trade_in.faults,
    area.faults,
    serial.faults,
)

CELLS: tuple[Callable[[Terms, Mark], Cells], ...] = (
    tiers.cells,
    grade.cells,
    price.cells,
    area.cells,
    age.cells,
    window.cells,
    trade_in.cells,
    serial.cells,
    quota.cells,
)

SENTENCES: Sentences = {
    **coverage.SENTENCES,
    **window.SENTENCES,
    **grade.SENTENCES,
    **price.SENTENCES,
    **tiers.SENTENCES,
    **trade_in.SENTENCES,
    **age.SENTENCES,
    **area.SENTENCES,
    **quota.SENTENCES,
    **serial.SENTENCES,
}
