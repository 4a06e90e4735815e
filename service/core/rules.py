"""The rules, one small function each: what it checks is its name, a refusal is its answer.

`LINE_RULES` and the order of it are the rules of every policy; the numbers are the
policy's own. A category for which the policy says nothing of a kind passes that rule.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta

from service.core.checkout import Checkout, Item, TradeIn
from service.core.policy import Category, Policy
from service.core.reasons import Reason, ReasonCode
from service.core.value import value

# Part of the API, not of a policy: a till that was offline over a weekend may still send
# its sales, and a till's clock may be a little fast.
SOLD_AGE_MAX = timedelta(hours=72)
SOLD_AHEAD_MAX = timedelta(minutes=5)


@value
class Line:
    """One item in the light of its category. `sold_on` is the day of sale in Asia/Shanghai."""

    policy: Policy
    category: Category
    checkout: Checkout
    item: Item
    sold_on: date
    subsidy_fen: int  # what the item would get if no rule refuses it


Rule = Callable[[Line], Reason | None]


def sold_recently(sold_at: datetime, now: datetime) -> Reason | None:
    if now - sold_at > SOLD_AGE_MAX:
        hours = SOLD_AGE_MAX // timedelta(hours=1)
        return Reason(ReasonCode.SOLD_TOO_LONG_AGO, facts={"hours_max": hours})
    if sold_at - now > SOLD_AHEAD_MAX:
        minutes = SOLD_AHEAD_MAX // timedelta(minutes=1)
        return Reason(ReasonCode.SOLD_IN_FUTURE, facts={"minutes_max": minutes})
    return None


def policy_in_force(policy: Policy | None, sold_on: date) -> Reason | None:
    if policy is None:
        facts: dict[str, str | int] = {"sold_on": sold_on.isoformat()}
        return Reason(ReasonCode.OUTSIDE_WINDOW, "no_policy", facts)
    return None


def category_covered(policy: Policy, item: Item) -> Reason | None:
    if item.category not in policy.categories:
        return Reason(ReasonCode.CATEGORY_NOT_COVERED, facts={"category": item.category})
    return None


def within_window(line: Line) -> Reason | None:
    from_on, to_on = line.category.from_on.value, line.category.to_on.value
    if from_on <= line.sold_on <= to_on:
        return None
    facts: dict[str, str | int] = {
        "sold_on": line.sold_on.isoformat(),
        "from_on": from_on.isoformat(),
        "to_on": to_on.isoformat(),
    }
    return Reason(ReasonCode.OUTSIDE_WINDOW, facts=facts)


def grade_given(line: Line) -> Reason | None:
    """A missing grade is never taken for "has no grade"."""
    grade = line.item.energy_grade
    if grade in (None, "none") and not _rate_known(line):
        return Reason(ReasonCode.GRADE_REQUIRED, grade or "")
    return None


def grade_eligible(line: Line) -> Reason | None:
    grade = line.item.energy_grade
    if grade in (None, "none") or _rate_known(line):
        return None
    eligible = "/".join(sorted(line.category.grades.keys() - {"none"}))
    return Reason(ReasonCode.GRADE_NOT_ELIGIBLE, facts={"grade": grade, "eligible": eligible})


def _rate_known(line: Line) -> bool:
    by_tier = bool(line.category.tiers)
    return by_tier or line.category.rate_of(line.item.energy_grade) is not None


def price_within_limit(line: Line) -> Reason | None:
    limit = line.category.price_max_fen
    if limit is None or line.item.price_fen <= limit.value:
        return None
    return Reason(ReasonCode.PRICE_OVER_LIMIT, facts={"limit_fen": limit.value})


def lowest_tier_reached(line: Line) -> Reason | None:
    tiers = line.category.tiers
    if not tiers or line.item.price_fen >= tiers[0].from_fen.value:
        return None
    return Reason(ReasonCode.BELOW_LOWEST_TIER, facts={"lowest_fen": tiers[0].from_fen.value})


def worth_a_fen(line: Line) -> Reason | None:
    """A subsidy of nothing would use up the buyer's right."""
    if line.subsidy_fen == 0 and not line.category.tiers and _rate_known(line):
        return Reason(ReasonCode.PRICE_TOO_LOW)
    return None


def trade_in_given(line: Line) -> Reason | None:
    terms, old = line.category.trade_in, line.item.trade_in
    if terms is None or (old is not None and old.kind == terms.kind):
        return None
    variant = "missing" if old is None else "wrong_kind"
    return Reason(ReasonCode.TRADE_IN_REQUIRED, variant, {"kind": terms.kind})


def trade_in_documented(line: Line) -> Reason | None:
    """An old car comes with the number of its transfer or scrapping paper."""
    old = _trade_in(line)
    if old is None or old.kind != "car" or old.document_no is not None:
        return None
    return Reason(ReasonCode.TRADE_IN_REQUIRED, "document_missing")


def trade_in_owned_since_known(line: Line) -> Reason | None:
    old = _trade_in(line)
    if old is None or _owned_before(line) is None or old.owned_since is not None:
        return None
    return Reason(ReasonCode.TRADE_IN_REQUIRED, "owned_since_missing")


def trade_in_owned_long_enough(line: Line) -> Reason | None:
    old, before = _trade_in(line), _owned_before(line)
    if old is None or before is None or old.owned_since is None or old.owned_since < before:
        return None
    facts: dict[str, str | int] = {"before_on": before.isoformat()}
    return Reason(ReasonCode.TRADE_IN_REQUIRED, "too_recent", facts)


def trade_in_another_vehicle(line: Line) -> Reason | None:
    old = _trade_in(line)
    if old is None or old.serial_no not in line.item.serials():
        return None
    return Reason(ReasonCode.TRADE_IN_REQUIRED, "same_serial")


def _trade_in(line: Line) -> TradeIn | None:
    """The old vehicle, where the category asks for one and this is of its kind."""
    terms, old = line.category.trade_in, line.item.trade_in
    return old if terms is not None and old is not None and old.kind == terms.kind else None


def _owned_before(line: Line) -> date | None:
    terms = line.category.trade_in
    return terms.owned_before_on.value if terms and terms.owned_before_on else None


def age_proved(line: Line) -> Reason | None:
    """Of all documents only the resident ID says when its holder was born."""
    if line.category.age_min is None or line.checkout.consumer.birth_on() is not None:
        return None
    facts: dict[str, str | int] = {"age_min": line.category.age_min.value}
    return Reason(ReasonCode.AGE_NOT_ELIGIBLE, "not_proved", facts)


def old_enough(line: Line) -> Reason | None:
    age_min = line.category.age_min
    if age_min is None:
        return None
    birth_on = line.checkout.consumer.birth_on()
    if birth_on is None or _age(birth_on, line.sold_on) >= age_min.value:
        return None
    return Reason(ReasonCode.AGE_NOT_ELIGIBLE, facts={"age_min": age_min.value})


def _age(birth_on: date, day: date) -> int:
    """Completed years. Who was born on 29 February completes one on 1 March."""
    birthday_is_ahead = (day.month, day.day) < (birth_on.month, birth_on.day)
    return day.year - birth_on.year - birthday_is_ahead


def serial_not_repeated(line: Line) -> Reason | None:
    """The first line that carries a serial keeps it."""
    serials = set(line.item.serials())
    for other in line.checkout.items:
        if other is line.item:
            return None
        if not serials.isdisjoint(other.serials()):
            facts: dict[str, str | int] = {"first_line_no": other.line_no}
            return Reason(ReasonCode.SERIAL_ALREADY_CLAIMED, "same_sale", facts)
    raise AssertionError("Bug! A line of another checkout.")


LINE_RULES: tuple[Rule, ...] = (
    grade_given,
    grade_eligible,
    price_within_limit,
    lowest_tier_reached,
    worth_a_fen,
    trade_in_given,
    trade_in_documented,
    trade_in_owned_since_known,
    trade_in_owned_long_enough,
    trade_in_another_vehicle,
    age_proved,
    old_enough,
    serial_not_repeated,
)
