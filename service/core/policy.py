"""A policy: dated rules as data, each number with its basis and its source.

A policy has schemes, a scheme has categories; a category is complete in itself: what the
file says once for a whole scheme stands in each of its categories. `policy_file` reads
policies and checks them; whoever holds a `Policy` need not check it again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from service.core.money import WHOLE_BP, Rounding

T = TypeVar("T")

Basis = Literal["stated", "adopted", "assumed"]
SchemeId = Literal["appliances", "digital", "home", "ebike", "cars", "elderly"]
Grade = Literal["1", "2", "3", "4", "5", "none"]
Period = Literal["calendar_year", "all"]

Fen = Annotated[int, Field(gt=0, le=10_000_000_000)]
Rate = Annotated[int, Field(gt=0, le=WHOLE_BP, description="basis points: 1500 is 15 %")]
Share = Annotated[int, Field(ge=0, le=WHOLE_BP, description="basis points of the whole")]
Count = Annotated[int, Field(gt=0, le=10_000_000_000)]
OneLine = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Frozen(BaseModel):
    """No coercion, no unknown field, no change once read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Fact(Frozen, Generic[T]):
    """One value of the rules, and how sure we are of it.

    `source` is a key of the policy's sources. An assumed value has none; its `note` says
    what is not known. `id` is where the fact stands in the file, the policy's id aside.
    """

    value: T
    basis: Basis
    source: str | None = None
    note: OneLine | None = None
    id: str = Field(alias="@id")

    @property
    def text(self) -> str:
        """The value as it is written in a file."""
        return str(self.value).lower() if isinstance(self.value, bool) else str(self.value)


class Source(Frozen):
    """A document, by its name and number: never by a web address, which rots."""

    name: OneLine
    number: OneLine | None = None
    issued: OneLine | None = None


class Quota(Frozen):
    """How many items, or how much money in fen, one subject may have in a period."""

    limit: Fact[Count]
    period: Period = "calendar_year"
    unit: Literal["items", "fen"] = "items"
    # Categories whose quota has one name share it; by default each has its own.
    name: str = ""
    # Money only: what becomes of a line that would pass what is left.
    over_limit: Fact[Literal["refuse"]] | None = None


class TradeInTerms(Frozen):
    """The old vehicle that must be handed in."""

    kind: Literal["car", "e_bike"]
    owned_before_on: Fact[date] | None = None
    quota: Quota | None = None


class Tier(Frozen):
    """A fixed sum for a price from `from_fen` on, up to the next tier."""

    from_fen: Fact[Fen]
    sum_fen: Fact[Fen]


class Terms(Frozen):
    """What a scheme, a group or a category may lay down; the narrower one prevails.

    `grades` holds the rates of single efficiency grades; `rate_bp` is the rate of whatever
    has none there. Without `rate_bp` a grade must be sent, and must be one of `grades`.
    """

    from_on: Fact[date] | None = None
    to_on: Fact[date] | None = None
    rate_bp: Fact[Rate] | None = None
    grades: dict[Grade, Fact[Rate]] = {}
    cap_fen: Fact[Fen] | None = None
    price_max_fen: Fact[Fen] | None = None
    tiers: tuple[Tier, ...] = ()
    quota: Quota | None = None
    trade_in: TradeInTerms | None = None
    age_min: Fact[Annotated[int, Field(gt=0, lt=150)]] | None = None


class Category(Terms):
    """A kind of goods with all that holds for it. Days are inclusive."""

    id: str
    scheme: SchemeId
    zh: OneLine
    en: OneLine
    includes: tuple[OneLine, ...]
    covered: Fact[Literal[True]]
    from_on: Fact[date]
    to_on: Fact[date]
    quota: Quota

    def tier_of(self, price_fen: int) -> Tier | None:
        """The highest tier that a price reaches."""
        reached = (tier for tier in self.tiers if tier.from_fen.value <= price_fen)
        return max(reached, key=lambda tier: tier.from_fen.value, default=None)

    def rate_of(self, grade: Grade | None) -> Fact[Rate] | None:
        """The rate of an item of this grade; None where the grade has none."""
        return self.rate_bp if grade is None else self.grades.get(grade, self.rate_bp)


class Scheme(Frozen):
    """One line of support with a budget of its own: its id is also the pool's."""

    zh: OneLine
    en: OneLine
    categories: dict[str, Category]


class Funding(Frozen):
    """Who bears how much of the subsidy, in basis points; together 10,000."""

    centre_bp: Fact[Share]
    province_bp: Fact[Share]
    city_bp: Fact[Share]
    district_bp: Fact[Share]

    @property
    def total_bp(self) -> int:
        shares = (self.centre_bp, self.province_bp, self.city_bp, self.district_bp)
        return sum(share.value for share in shares)


class InForce(Frozen):
    """Both days are inclusive, in Asia/Shanghai."""

    from_on: Fact[date]
    to_on: Fact[date]


class PolicyHead(Frozen):
    """What holds for a whole policy."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    zh: OneLine
    en: OneLine
    jurisdiction: Annotated[str, Field(pattern=r"^[0-9]{6}$")]
    sources: dict[str, Source]
    in_force: InForce
    rounding: Fact[Rounding]
    refund_restores_quota: Fact[bool]
    funding: Funding


class Policy(PolicyHead):
    schemes: dict[SchemeId, Scheme]

    @cached_property
    def categories(self) -> dict[str, Category]:
        return {
            category.id: category
            for scheme in self.schemes.values()
            for category in scheme.categories.values()
        }

    def covers(self, day: date) -> bool:
        return self.in_force.from_on.value <= day <= self.in_force.to_on.value


@dataclass(frozen=True, slots=True)
class PolicyBook:
    """The policies of one jurisdiction, by date; at most one is in force on any day."""

    jurisdiction: str
    policies: tuple[Policy, ...]

    def __post_init__(self) -> None:
        for policy, following in zip(self.policies, self.policies[1:], strict=False):
            if policy.in_force.to_on.value >= following.in_force.from_on.value:
                raise ValueError(f"{policy.id} and {following.id} overlap or are out of order")

    def on(self, day: date) -> Policy | None:
        """The policy in force on a day in Asia/Shanghai."""
        return next((policy for policy in self.policies if policy.covers(day)), None)

    def get(self, policy_id: str) -> Policy | None:
        """The policy that priced a claim, whatever is in force today."""
        return next((policy for policy in self.policies if policy.id == policy_id), None)


def facts_of(part: Any) -> Iterator[Fact[Any]]:
    """Every fact in a policy or a part of one; a shared one as often as it is met."""
    if isinstance(part, Fact):
        yield part
    elif isinstance(part, BaseModel):
        for _, value in part:
            yield from facts_of(value)
    elif isinstance(part, dict):
        for value in part.values():
            yield from facts_of(value)
    elif isinstance(part, tuple):
        for value in part:
            yield from facts_of(value)
