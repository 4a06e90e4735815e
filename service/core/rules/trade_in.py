"""The old vehicle that must be handed in."""

from collections.abc import Iterator
from datetime import date
from typing import Literal

from service.core.checkout import TradeIn
from service.core.fact import Fact, Frozen
from service.core.identifiers import folded_serial
from service.core.reasons import Reason, ReasonCode
from service.core.rules.quota import Quota, quota_text
from service.core.rules.subject import Cells, Mark, ReasonFacts, Sale, Sentences, TermsFault
from service.core.rules.window import InForce
from service.core.sentences import Sentence


class OldVehicle(Frozen):
    """The kind of the old vehicle, since when it must have been the buyer's own, and how often one
    and the same old vehicle may serve."""

    kind: Literal["car", "e_bike"]
    owned_before_on: Fact[date] | None = None
    quota: Quota | None = None


class TradeInTerms(Frozen):
    """Without `trade_in` nothing has to be handed in."""

    trade_in: OldVehicle | None = None


def trade_in_given(terms: TradeInTerms, sale: Sale) -> Reason | None:
    required, old = terms.trade_in, sale.item.trade_in
    if required is None or (old is not None and old.kind == required.kind):
        return None
    variant = "missing" if old is None else "wrong_kind"
    return Reason(ReasonCode.TRADE_IN_REQUIRED, variant, {"kind": required.kind})


def trade_in_documented(terms: TradeInTerms, sale: Sale) -> Reason | None:
    """An old car comes with the number of its transfer or scrapping paper."""
    old = _trade_in(terms, sale)
    if old is None or old.kind != "car" or old.document_no is not None:
        return None
    return Reason(ReasonCode.TRADE_IN_REQUIRED, "document_missing")


def trade_in_owned_since_known(terms: TradeInTerms, sale: Sale) -> Reason | None:
    old = _trade_in(terms, sale)
    if old is None or _owned_before(terms) is None or old.owned_since is not None:
        return None
    return Reason(ReasonCode.TRADE_IN_REQUIRED, "owned_since_missing")


def trade_in_owned_long_enough(terms: TradeInTerms, sale: Sale) -> Reason | None:
    old, before = _trade_in(terms, sale), _owned_before(terms)
    if old is None or before is None or old.owned_since is None or old.owned_since < before:
        return None
    facts: ReasonFacts = {"before_on": before.isoformat()}
    return Reason(ReasonCode.TRADE_IN_REQUIRED, "too_recent", facts)


def trade_in_another_vehicle(terms: TradeInTerms, sale: Sale) -> Reason | None:
    old = _trade_in(terms, sale)
    if old is None or folded_serial(old.serial_no) not in sale.item.serials():
        return None
    return Reason(ReasonCode.TRADE_IN_REQUIRED, "same_serial")


def _trade_in(terms: TradeInTerms, sale: Sale) -> TradeIn | None:
    """The old vehicle, where the category asks for one and this is of its kind."""
    required, old = terms.trade_in, sale.item.trade_in
    return old if required is not None and old is not None and old.kind == required.kind else None


def _owned_before(terms: TradeInTerms) -> date | None:
    required = terms.trade_in
    return required.owned_before_on.value if required and required.owned_before_on else None


CHECKS = (
    trade_in_given,
    trade_in_documented,
    trade_in_owned_since_known,
    trade_in_owned_long_enough,
    trade_in_another_vehicle,
)


def faults(terms: TradeInTerms, in_force: InForce) -> Iterator[TermsFault]:
    old = terms.trade_in
    if old and old.owned_before_on and old.kind != "car":
        yield old.owned_before_on.id, "is for cars"


def cells(terms: TradeInTerms, mark: Mark) -> Cells:
    if old := terms.trade_in:
        yield "conditions", f"trade-in: {old.kind}"
        if before := old.owned_before_on:
            yield "conditions", f"owned before {before.text} {mark(before)}"
        if old.quota:
            yield "conditions", f"each old one: {quota_text(old.quota, mark)}"


SENTENCES: Sentences = {
    (ReasonCode.TRADE_IN_REQUIRED, "missing"): (
        Sentence(
            "该品类须交售{kind}，请填写{kind}信息后重试。",
            "The customer must hand in an {kind}. Enter the {kind} and try again.",
        ),
    ),
    (ReasonCode.TRADE_IN_REQUIRED, "wrong_kind"): (
        Sentence(
            "交售的旧车种类不符，该品类须交售{kind}，请更正旧车信息后重试。",
            "The vehicle handed in is of the wrong kind: it must be an {kind}. Correct it and "
            "try again.",
        ),
    ),
    (ReasonCode.TRADE_IN_REQUIRED, "document_missing"): (
        Sentence(
            "缺少旧车转让或报废凭证编号，请向顾客索取凭证，填写编号后重试。",
            "The number of the old car's transfer or scrapping paper is missing. Ask the customer "
            "for the paper, enter its number and try again.",
        ),
    ),
    (ReasonCode.TRADE_IN_REQUIRED, "owned_since_missing"): (
        Sentence(
            "缺少旧车登记在顾客本人名下的日期，请按机动车登记证书填写后重试。",
            "The day since which the old car stands in the customer's own name is missing. Enter "
            "it from the registration certificate and try again.",
        ),
    ),
    (ReasonCode.TRADE_IN_REQUIRED, "too_recent"): (
        Sentence(
            "旧车须在 {before_on} 之前登记在顾客本人名下，"
            "请核对登记日期，或请顾客改用符合条件的旧车。",
            "The old car must have stood in the customer's own name before {before_on}. Check the "
            "day of registration, or ask for another old car.",
        ),
    ),
    (ReasonCode.TRADE_IN_REQUIRED, "same_serial"): (
        Sentence(
            "旧车与新车的识别代号（车架号）相同，请核对并更正后重试。",
            "The old vehicle and the new one have the same number. Correct it and try again.",
        ),
    ),
}
