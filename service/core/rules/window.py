"""The days on which a sale is subsidised, and how old or early a sale may be."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from service.core.fact import Fact, Frozen
from service.core.reasons import Reason, ReasonCode
from service.core.rules.subject import Cells, Mark, ReasonFacts, Sentences, TermsFault
from service.core.sentences import Sentence

# Part of the API, not of a policy: a till that was offline over a weekend may still send
# its sales, and a till's clock may be a little fast.
SOLD_AGE_MAX = timedelta(hours=72)
SOLD_AHEAD_MAX = timedelta(minutes=5)


class InForce(Frozen):
    """Both days are inclusive, in Asia/Shanghai."""

    from_on: Fact[date]
    to_on: Fact[date]


class WindowTerms(Frozen):
    """Both days are inclusive, in Asia/Shanghai. By default those of the whole policy."""

    from_on: Fact[date] | None = None
    to_on: Fact[date] | None = None


def sold_recently(sold_at: datetime, now: datetime) -> Reason | None:
    if now - sold_at > SOLD_AGE_MAX:
        hours = SOLD_AGE_MAX // timedelta(hours=1)
        return Reason(ReasonCode.SOLD_TOO_LONG_AGO, facts={"hours_max": hours})
    if sold_at - now > SOLD_AHEAD_MAX:
        minutes = SOLD_AHEAD_MAX // timedelta(minutes=1)
        return Reason(ReasonCode.SOLD_IN_FUTURE, facts={"minutes_max": minutes})
    return None


def within_window(terms: WindowTerms, sold_on: date) -> Reason | None:
    assert terms.from_on and terms.to_on, "Bug! The policy's own days are laid in."
    from_on, to_on = terms.from_on.value, terms.to_on.value
    if from_on <= sold_on <= to_on:
        return None
    facts: ReasonFacts = {
        "sold_on": sold_on.isoformat(),
        "from_on": from_on.isoformat(),
        "to_on": to_on.isoformat(),
    }
    return Reason(ReasonCode.OUTSIDE_WINDOW, facts=facts)


def faults(terms: WindowTerms, in_force: InForce) -> Iterator[TermsFault]:
    assert terms.from_on and terms.to_on, "Bug! The policy's own days are laid in."
    if terms.from_on.value > terms.to_on.value:
        yield terms.from_on.id, "is after to_on"
    if terms.from_on.value < in_force.from_on.value:
        yield terms.from_on.id, "is before the policy is in force"
    if terms.to_on.value > in_force.to_on.value:
        yield terms.to_on.id, "is after the policy has ended"


def cells(terms: WindowTerms, mark: Mark) -> Cells:
    if terms.from_on and terms.from_on.id != "in_force/from_on":
        yield "conditions", f"from {terms.from_on.text} {mark(terms.from_on)}"
    if terms.to_on and terms.to_on.id != "in_force/to_on":
        yield "conditions", f"until {terms.to_on.text} {mark(terms.to_on)}"


SENTENCES: Sentences = {
    (ReasonCode.OUTSIDE_WINDOW, ""): (
        Sentence(
            "该品类的补贴期为 {from_on} 至 {to_on}，本单销售日期 {sold_on} 不在其中，"
            "请核对销售日期；日期无误则按原价收款。",
            "This category is subsidised from {from_on} to {to_on}, and the sale is of {sold_on}. "
            "Check the date of sale; if it is right, charge the full price.",
        ),
    ),
    (ReasonCode.SOLD_TOO_LONG_AGO, ""): (
        Sentence(
            "销售时间已超过 {hours_max} 小时，不能再申领，"
            "请核对收银机时间；时间无误请联系区经信商务局。",
            "The sale is more than {hours_max} hours old and can no longer be claimed. Check the "
            "till's clock; if it is right, call the commerce bureau.",
        ),
    ),
    (ReasonCode.SOLD_IN_FUTURE, ""): (
        Sentence(
            "销售时间比现在晚 {minutes_max} 分钟以上，请校准收银机时间后重试。",
            "The sale lies more than {minutes_max} minutes ahead. Set the till's clock and try "
            "again.",
        ),
    ),
}
