"""What a checkout gets: the policy's answer, line by line. Pure."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Literal

from service.core.calendar import business_day
from service.core.checkout import Checkout, EnergyGrade, Item
from service.core.money import share_fen
from service.core.policy import Category, Policy, PolicyBook
from service.core.reasons import Reason
from service.core.rules import registry
from service.core.rules.coverage import category_not_covered, no_policy_in_force
from service.core.rules.quota import Quota
from service.core.rules.subject import Sale
from service.core.rules.window import sold_recently, within_window
from service.core.value import value


@value
class QuotaUse:
    """What a line takes of the quota of a person or an old vehicle.

    `amount` and `limit` count items, or fen where the quota is a sum of money.
    `period` is the calendar year of the sale ("2025"), or "all".
    """

    subject: Literal["person", "trade_in"]
    quota: str
    period: str
    amount: int
    limit: int
    unit: Literal["items", "fen"]
    restored: bool  # whether a refund gives it back


@value
class LineQuote:
    """One line: the amounts, or the reasons why there is none (then `subsidy_fen` is 0)."""

    line_no: int
    category: str
    scheme: str | None
    pool: str | None
    price_fen: int
    rate_bp: int | None  # None for a fixed sum
    cap_fen: int | None
    subsidy_fen: int
    quotas: tuple[QuotaUse, ...]
    reasons: tuple[Reason, ...]

    @property
    def payable_fen(self) -> int:
        return self.price_fen - self.subsidy_fen


@value
class Quote:
    """A whole checkout, priced by one policy (None when no policy is in force that day)."""

    policy: str | None
    lines: tuple[LineQuote, ...]
    price_fen: int
    subsidy_fen: int

    @property
    def refused(self) -> bool:
        return any(line.reasons for line in self.lines)

    @property
    def payable_fen(self) -> int:
        return self.price_fen - self.subsidy_fen


@value
class Price:
    """The amounts for one item by its price alone, before any rule."""

    rate_bp: int | None
    cap_fen: int | None
    subsidy_fen: int


def quote(book: PolicyBook, checkout: Checkout, now: datetime) -> Quote:
    """What a checkout would get under the policy of its day. `now` is an aware instant.

    Quotas, serials and budgets that others have used are not considered; `quotas` of each line
    says what it would take.
    """
    sold_on = business_day(checkout.sold_at)
    policy = book.on(sold_on)
    timing = _reasons(
        sold_recently(checkout.sold_at, now), None if policy else no_policy_in_force(sold_on)
    )
    lines = tuple([_line(policy, checkout, item, sold_on, timing) for item in checkout.items])
    return Quote(
        policy.id if policy else None,
        lines,
        price_fen=sum([line.price_fen for line in lines]),
        subsidy_fen=sum([line.subsidy_fen for line in lines]),
    )


def _line(
    policy: Policy | None,
    checkout: Checkout,
    item: Item,
    sold_on: date,
    timing: tuple[Reason, ...],
) -> LineQuote:
    if policy is None:
        return _unknown(item, timing)
    category = policy.categories.get(item.category)
    if category is None:
        return _unknown(item, (*timing, category_not_covered(item)))
    price = price_of(policy, category, item.price_fen, item.energy_grade, item.facts())
    reasons = timing + judged(category, Sale(checkout, item, sold_on, price.subsidy_fen))
    return LineQuote(
        line_no=item.line_no,
        category=item.category,
        scheme=category.scheme,
        pool=category.scheme,
        price_fen=item.price_fen,
        rate_bp=price.rate_bp,
        cap_fen=price.cap_fen,
        subsidy_fen=0 if reasons else price.subsidy_fen,
        quotas=() if reasons else quotas_of(policy, category, sold_on, price.subsidy_fen),
        reasons=reasons,
    )


def price_of(
    policy: Policy,
    category: Category,
    price_fen: int,
    grade: EnergyGrade | None,
    facts: Mapping[str, int | str],
) -> Price:
    """The rate or the tier of an item of this price, energy grade and `ItemFacts`. No rate (an
    unknown grade) and no tier give nothing."""
    if category.tiers:
        tier = category.tier_of(price_fen)
        sum_fen = tier.sum_fen.value if tier else None
        return Price(None, sum_fen, sum_fen or 0)
    caps = [cap for cap_of in registry.CAPS if (cap := cap_of(category, facts)) is not None]
    cap_fen = min(caps)
    rate = category.rate_of(grade)
    if rate is None:
        return Price(None, cap_fen, 0)
    share = share_fen(price_fen, rate.value, policy.rounding.value)
    return Price(rate.value, cap_fen, min(share, cap_fen))


def judged(category: Category, sale: Sale) -> tuple[Reason, ...]:
    """Every reason against a line. Outside its window the other rules do not apply."""
    if reason := within_window(category, sale.sold_on):
        return (reason,)
    return tuple(
        [reason for check in registry.CHECKS if (reason := check(category, sale)) is not None]
    )


def quotas_of(
    policy: Policy, category: Category, sold_on: date, subsidy_fen: int
) -> tuple[QuotaUse, ...]:
    """What an eligible line takes of the buyer's quota and of the old vehicle's."""
    year, quota = str(sold_on.year), category.quota
    amount = subsidy_fen if quota.unit == "fen" else 1
    restored = policy.refund_restores_quota.value
    uses = [_use("person", quota, quota.name, year, amount, restored)]
    trade_in = category.trade_in
    if trade_in and trade_in.quota:
        uses.append(_use("trade_in", trade_in.quota, f"old_{trade_in.kind}", year, 1, restored))
    return tuple(uses)


def _use(
    subject: Literal["person", "trade_in"],
    quota: Quota,
    name: str,
    year: str,
    amount: int,
    restored: bool,
) -> QuotaUse:
    period = year if quota.period == "calendar_year" else "all"
    return QuotaUse(subject, name, period, amount, quota.limit.value, quota.unit, restored)


def _unknown(item: Item, reasons: tuple[Reason, ...]) -> LineQuote:
    return LineQuote(
        line_no=item.line_no,
        category=item.category,
        scheme=None,
        pool=None,
        price_fen=item.price_fen,
        rate_bp=None,
        cap_fen=None,
        subsidy_fen=0,
        quotas=(),
        reasons=reasons,
    )


def _reasons(*reasons: Reason | None) -> tuple[Reason, ...]:
    return tuple([reason for reason in reasons if reason is not None])
