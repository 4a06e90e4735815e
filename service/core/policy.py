"""A policy: dated rules as data, each number with its basis and its source.

A policy has schemes, a scheme has categories; a category is complete in itself: it repeats
what the file says once for its whole scheme. `policy_file` reads and checks policies; a `Policy`
needs no second check.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from service.core.checkout import SerialFormat
from service.core.fact import Fact, Frozen, OneLine, Share
from service.core.money import Rounding
from service.core.rules.quota import Quota
from service.core.rules.registry import Terms
from service.core.rules.window import InForce

# Also the pool's name in the ledger, in metrics and in exports.
SchemeId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Source(Frozen):
    """A document, by its name and number: never by a web address, which rots."""

    name: OneLine
    number: OneLine | None = None
    issued: OneLine | None = None


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


@dataclass(frozen=True)
class PolicyBook:
    """The policies of one jurisdiction, by date; at most one is in force on any day."""

    jurisdiction: str
    policies: tuple[Policy, ...]

    def __post_init__(self) -> None:
        for policy, following in zip(self.policies, self.policies[1:], strict=False):
            if policy.in_force.to_on.value >= following.in_force.from_on.value:
                raise ValueError(f"{policy.id} and {following.id} overlap or are out of order")

    @property
    def pools(self) -> frozenset[str]:
        """Every pool that one of the policies takes money from."""
        return frozenset(scheme for policy in self.policies for scheme in policy.schemes)

    def on(self, day: date) -> Policy | None:
        """The policy in force on a day in Asia/Shanghai."""
        if day not in self._of_day:
            self._of_day[day] = next(
                (policy for policy in self.policies if policy.covers(day)), None
            )
        return self._of_day[day]

    @cached_property
    def _of_day(self) -> dict[date, Policy | None]:
        """What `on` has answered: each claim asks it. A checkout's days are those of a century."""
        return {}

    @cached_property
    def serial_formats(self) -> dict[str, SerialFormat]:
        """What the serial number of each category's goods must be, by the latest policy that has
        the category: the context in which a checkout is validated."""
        return {
            name: category.serial_format
            for policy in self.policies
            for name, category in policy.categories.items()
        }

    def get(self, policy_id: str) -> Policy | None:
        """The policy that priced a claim, whatever is in force today."""
        return next((policy for policy in self.policies if policy.id == policy_id), None)


def facts_of(node: Any) -> Iterator[Fact[Any]]:
    """Every fact in a policy or a part of one; a shared one as often as it is met."""
    if isinstance(node, Fact):
        yield node
    elif isinstance(node, BaseModel):
        for _, value in node:
            yield from facts_of(value)
    elif isinstance(node, dict):
        for value in node.values():
            yield from facts_of(value)
    elif isinstance(node, tuple):
        for value in node:
            yield from facts_of(value)
