"""A policy in the layout of its file, and the way from there to a `Policy`.

The file says a thing once, for a scheme or for a group of its categories; here it is laid
into each category, where the narrower word prevails. Grades add up instead: a group may
add the rate of one more grade.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pydantic import Field

from service.core.fact import Fact, OneLine
from service.core.policy import Category, Policy, PolicyHead, Scheme, SchemeId
from service.core.rules.registry import Terms
from service.core.yaml_lines import Path


class CategoryLayout(Terms):
    zh: OneLine
    en: OneLine
    includes: tuple[OneLine, ...] = ()


class GroupLayout(Terms):
    """Categories that are covered on one basis."""

    covered: Fact[Literal[True]]
    categories: dict[str, CategoryLayout] = Field(min_length=1)


class SchemeLayout(Terms):
    zh: OneLine
    en: OneLine
    groups: dict[str, GroupLayout] = Field(min_length=1)


class PolicyLayout(PolicyHead):
    schemes: dict[SchemeId, SchemeLayout] = Field(min_length=1)


class CategoryEntry(NamedTuple):
    """One category of a file: `own` is its own entry, `terms` all that holds for it."""

    scheme_id: SchemeId
    group_id: str
    category_id: str
    own: CategoryLayout
    covered: Fact[Literal[True]]
    terms: Terms

    @property
    def path(self) -> Path:
        group = ("schemes", self.scheme_id, "groups", self.group_id)
        return (*group, "categories", self.category_id)


def entries(layout: PolicyLayout) -> Iterator[CategoryEntry]:
    for scheme_id, scheme in layout.schemes.items():
        for group_id, group in scheme.groups.items():
            for category_id, own in group.categories.items():
                terms = _laid_in(_whole_policy(layout), scheme, group, own)
                yield CategoryEntry(scheme_id, group_id, category_id, own, group.covered, terms)


def _whole_policy(layout: PolicyLayout) -> Terms:
    return Terms(from_on=layout.in_force.from_on, to_on=layout.in_force.to_on)


def _laid_in(*wide_to_narrow: Terms) -> Terms:
    values: dict[str, Any] = {}
    grades: dict[Any, Any] = {}
    for terms in wide_to_narrow:
        for name in Terms.model_fields.keys() & terms.model_fields_set:
            values[name] = getattr(terms, name)
        grades |= terms.grades
    return Terms(**{**values, "grades": grades})


def policy_of(layout: PolicyLayout) -> Policy:
    """The policy of a file in which no fault was found."""
    categories = [(entry.scheme_id, _category(entry)) for entry in entries(layout)]
    schemes = {
        scheme_id: Scheme(
            zh=scheme.zh,
            en=scheme.en,
            categories={
                category.id: category for owner, category in categories if owner == scheme_id
            },
        )
        for scheme_id, scheme in layout.schemes.items()
    }
    head = {name: getattr(layout, name) for name in PolicyHead.model_fields}
    return Policy(**head, schemes=schemes)


def _category(entry: CategoryEntry) -> Category:
    terms = {name: getattr(entry.terms, name) for name in Terms.model_fields}
    quota = terms["quota"]
    terms["quota"] = quota.model_copy(update={"name": quota.name or entry.category_id})
    # A basis given for a whole list holds for each category on it, and each is confirmed by itself.
    fact_id = f"{entry.scheme_id}/{entry.category_id}/covered"
    return Category(
        **terms,
        id=entry.category_id,
        scheme=entry.scheme_id,
        zh=entry.own.zh,
        en=entry.own.en,
        includes=entry.own.includes,
        covered=entry.covered.model_copy(update={"id": fact_id}),
    )
