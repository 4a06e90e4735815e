"""A cap by the area of the room that is renovated."""

from collections.abc import Iterator, Mapping

from service.core.fact import Fact, Fen
from service.core.money import yuan
from service.core.reasons import Reason, ReasonCode
from service.core.rules.grade import GradeTerms
from service.core.rules.subject import Cells, Mark, Sale, Sentences, TermsFault
from service.core.rules.window import InForce
from service.core.sentences import Sentence

DM2_PER_M2 = 100


class AreaTerms(GradeTerms):
    """The subsidy is at most so many fen for each square metre; a part of a fen is dropped."""

    cap_per_m2_fen: Fact[Fen] | None = None


def area_given(terms: AreaTerms, sale: Sale) -> Reason | None:
    if terms.cap_per_m2_fen is None or sale.item.area_dm2 is not None:
        return None
    return Reason(ReasonCode.AREA_REQUIRED)


CHECKS = (area_given,)


def faults(terms: AreaTerms, in_force: InForce) -> Iterator[TermsFault]:
    if cap := terms.cap_per_m2_fen:
        if not terms.by_rate:
            yield cap.id, "needs a rate (rate_bp, grades): it limits a share of the price"
        if cap.value < DM2_PER_M2:
            yield cap.id, "is less than a fen for the smallest area"


def cap_of(terms: AreaTerms, facts: Mapping[str, int | str]) -> int | None:
    if terms.cap_per_m2_fen is None or "area_dm2" not in facts:
        return None
    return terms.cap_per_m2_fen.value * int(facts["area_dm2"]) // DM2_PER_M2


def cells(terms: AreaTerms, mark: Mark) -> Cells:
    if cap := terms.cap_per_m2_fen:
        yield "cap, yuan", f"{yuan(cap.value)} a m² {mark(cap)}"


SENTENCES: Sentences = {
    (ReasonCode.AREA_REQUIRED, ""): (
        Sentence(
            "缺少改造面积，请填写改造房间的面积后重试。",
            "The area is missing. Enter the area of the renovated room and try again.",
        ),
    ),
}
