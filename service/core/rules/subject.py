"""What a file of this folder has for the registry, and what a rule is given."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any, Literal

from service.core.checkout import Checkout, Item
from service.core.fact import Fact
from service.core.reasons import Reason, ReasonCode
from service.core.sentences import Sentence
from service.core.value import value


@value
class Sale:
    """One item of a checkout. `sold_on` is the day of sale in Asia/Shanghai; `subsidy_fen` is
    what the item would get if no rule refuses it."""

    checkout: Checkout
    item: Item
    sold_on: date
    subsidy_fen: int


# (the reason's code, its variant) -> sentences; of several the first is used whose gaps can all
# be filled.
Sentences = Mapping[tuple[ReasonCode, str], tuple[Sentence, ...]]

# A fault in the terms of a category: the id of the fact, or None for the category as a whole,
# and what is wrong with it.
TermsFault = tuple[str | None, str]

# A cell of the table that `butie policy show` prints: its column, and a line in it. `Mark` writes
# a fact's basis and source in a few letters.
Column = Literal["subsidy", "cap, yuan", "conditions", "per person"]
Cells = Iterator[tuple[Column, str]]
Mark = Callable[[Fact[Any]], str]

ReasonFacts = dict[str, str | int]
Answer = Reason | None
