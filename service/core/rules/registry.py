"""Every rule in its order. A new rule is a file beside this one and its name in these tables."""

from collections.abc import Callable, Iterator

from service.core.reasons import Reason
from service.core.rules import age, coverage, grade, price, quota, serial, tiers, trade_in, window
from service.core.rules.subject import Cells, Mark, Sale, Sentences, TermsFault
from service.core.rules.terms import Terms
from service.core.rules.window import InForce

# A refused line has its reasons in this order. A category that says nothing of a kind passes
# that rule.
CHECKS: tuple[Callable[[Terms, Sale], Reason | None], ...] = (
    *grade.CHECKS,
    *price.CHECKS,
    *tiers.CHECKS,
    *trade_in.CHECKS,
    *age.CHECKS,
    *serial.CHECKS,
)

FAULTS: tuple[Callable[[Terms, InForce], Iterator[TermsFault]], ...] = (
    window.faults,
    price.faults,
    tiers.faults,
    quota.faults,
    trade_in.faults,
)

CELLS: tuple[Callable[[Terms, Mark], Cells], ...] = (
    tiers.cells,
    grade.cells,
    price.cells,
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
    **quota.SENTENCES,
    **serial.SENTENCES,
}
