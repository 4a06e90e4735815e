"""The age that the buyer must have."""

from datetime import date
from typing import Annotated

from pydantic import Field

from service.core.fact import Fact, Frozen
from service.core.reasons import Reason, ReasonCode
from service.core.rules.subject import Cells, Mark, ReasonFacts, Sale, Sentences
from service.core.sentences import Sentence


class AgeTerms(Frozen):
    """`age_min` in completed years on the day of sale."""

    age_min: Fact[Annotated[int, Field(gt=0, lt=150)]] | None = None


def age_proved(terms: AgeTerms, sale: Sale) -> Reason | None:
    """The resident ID is the only document that has its holder's day of birth."""
    if terms.age_min is None or sale.checkout.consumer.birth_on() is not None:
        return None
    facts: ReasonFacts = {"age_min": terms.age_min.value}
    return Reason(ReasonCode.AGE_NOT_ELIGIBLE, "not_proved", facts)


def old_enough(terms: AgeTerms, sale: Sale) -> Reason | None:
    age_min = terms.age_min
    if age_min is None:
        return None
    birth_on = sale.checkout.consumer.birth_on()
    if birth_on is None or _age(birth_on, sale.sold_on) >= age_min.value:
        return None
    return Reason(ReasonCode.AGE_NOT_ELIGIBLE, facts={"age_min": age_min.value})


def _age(birth_on: date, day: date) -> int:
    """Completed years. Who was born on 29 February completes one on 1 March."""
    birthday_is_ahead = (day.month, day.day) < (birth_on.month, birth_on.day)
    return day.year - birth_on.year - birthday_is_ahead


CHECKS = (age_proved, old_enough)


def cells(terms: AgeTerms, mark: Mark) -> Cells:
    if terms.age_min:
        yield "conditions", f"{terms.age_min.value} or older {mark(terms.age_min)}"


SENTENCES: Sentences = {
    (ReasonCode.AGE_NOT_ELIGIBLE, ""): (
        Sentence(
            "购买人须年满 {age_min} 周岁，可请符合年龄的家人凭本人身份证购买，否则按原价收款。",
            "The buyer must be {age_min} or older. A family member of that age may buy with their "
            "own resident ID; otherwise charge the full price.",
        ),
    ),
    (ReasonCode.AGE_NOT_ELIGIBLE, "not_proved"): (
        Sentence(
            "该证件不能证明购买人年满 {age_min} 周岁，请改用居民身份证重试。",
            "This document does not prove that the buyer is {age_min} or older. Use a resident ID "
            "and try again.",
        ),
    ),
}
