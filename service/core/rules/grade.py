"""The rate of an item, by its energy or water efficiency grade."""

from typing import Literal

from pydantic import Field

from service.core.fact import Fact, Frozen, Rate
from service.core.money import percent
from service.core.reasons import Reason, ReasonCode
from service.core.rules.subject import Cells, Mark, Sale, Sentences
from service.core.sentences import Sentence

Grade = Literal["1", "2", "3", "4", "5", "none"]


class GradeTerms(Frozen):
    """`grades` holds the rates of single efficiency grades; `rate_bp` is the rate of whatever
    has none there. Without `rate_bp` a grade must be sent, and must be one of `grades`."""

    rate_bp: Fact[Rate] | None = None
    grades: dict[Grade, Fact[Rate]] = Field(default={})

    @property
    def by_rate(self) -> bool:
        """Whether the subsidy is a share of the price."""
        return self.rate_bp is not None or bool(self.grades)

    def rate_of(self, grade: Grade | None) -> Fact[Rate] | None:
        """The rate of an item of this grade; None where the grade has none."""
        return self.rate_bp if grade is None else self.grades.get(grade, self.rate_bp)


def grade_given(terms: GradeTerms, sale: Sale) -> Reason | None:
    """A missing grade is never taken for "has no grade"."""
    grade = sale.item.energy_grade
    if grade in (None, "none") and terms.by_rate and terms.rate_of(grade) is None:
        return Reason(ReasonCode.GRADE_REQUIRED, grade or "")
    return None


def grade_eligible(terms: GradeTerms, sale: Sale) -> Reason | None:
    grade = sale.item.energy_grade
    if grade in (None, "none") or not terms.by_rate or terms.rate_of(grade) is not None:
        return None
    eligible = "/".join(sorted(terms.grades.keys() - {"none"}))
    return Reason(ReasonCode.GRADE_NOT_ELIGIBLE, facts={"grade": grade, "eligible": eligible})


def worth_a_fen(terms: GradeTerms, sale: Sale) -> Reason | None:
    """A subsidy of nothing would use up the buyer's quota."""
    if sale.subsidy_fen == 0 and terms.rate_of(sale.item.energy_grade) is not None:
        return Reason(ReasonCode.PRICE_TOO_LOW)
    return None


CHECKS = (grade_given, grade_eligible)


def cells(terms: GradeTerms, mark: Mark) -> Cells:
    for grade, rate in terms.grades.items():
        name = "no grade" if grade == "none" else f"grade {grade}"
        yield "subsidy", f"{name}: {percent(rate.value)} {mark(rate)}"
    if flat := terms.rate_bp:
        yield "subsidy", f"{'else: ' if terms.grades else ''}{percent(flat.value)} {mark(flat)}"


SENTENCES: Sentences = {
    (ReasonCode.GRADE_REQUIRED, ""): (
        Sentence(
            "缺少能效或水效等级，请按商品能效标识填写等级后重试。",
            "The energy or water efficiency grade is missing. Enter the grade from the product's "
            "label and try again.",
        ),
    ),
    (ReasonCode.GRADE_REQUIRED, "none"): (
        Sentence(
            "该品类须有能效或水效等级，不能填“无等级”，请按商品能效标识填写等级后重试。",
            "This category needs an energy or water efficiency grade; “none” is not accepted. "
            "Enter the grade from the product's label and try again.",
        ),
    ),
    (ReasonCode.GRADE_NOT_ELIGIBLE, ""): (
        Sentence(
            "能效或水效 {grade} 级不予补贴，仅补贴 {eligible} 级，"
            "请核对能效标识，或请顾客改选商品。",
            "Efficiency grade {grade} is not subsidised, only {eligible}. Check the label, or "
            "offer the customer another product.",
        ),
    ),
    (ReasonCode.PRICE_TOO_LOW, ""): (
        Sentence(
            "售价过低，补贴不足一分钱，请核对售价；售价无误则按原价收款，不占用顾客的补贴资格。",
            "The price is so low that the subsidy is less than a fen. Check the price; if it is "
            "right, charge it in full, and the customer keeps the right to a subsidy.",
        ),
    ),
}
