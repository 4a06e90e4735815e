"""Faults of a policy file whose single values are well formed."""

from collections.abc import Iterator

from service.core.fact import Fact
from service.core.money import WHOLE_BP
from service.core.policy import facts_of
from service.core.policy_layout import PolicyLayout, entries
from service.core.rules import registry
from service.core.yaml_lines import Path

# The place of a fault (a fact's id, or a path in the file), and the fault.
Fault = tuple[str | Path, str]


def faults_in(layout: PolicyLayout) -> Iterator[Fault]:
    for fact in facts_of(layout):
        yield from _faults_in_source(layout, fact)
    if layout.in_force.from_on.value > layout.in_force.to_on.value:
        yield layout.in_force.from_on.id, "is after to_on"
    if layout.funding.total_bp != WHOLE_BP:
        yield ("funding",), f"the shares make {layout.funding.total_bp}, not {WHOLE_BP}"
    yield from _faults_in_categories(layout)


def _faults_in_source(layout: PolicyLayout, fact: Fact[object]) -> Iterator[Fault]:
    if fact.basis == "assumed":
        if fact.source is not None or fact.note is None:
            yield fact.id, "what is assumed has no source, and a note of what is not known"
    elif fact.source is None:
        yield fact.id, f"what is {fact.basis} needs its source"
    elif fact.source not in layout.sources:
        yield fact.id, f"{fact.source} is not one of the sources"


def _faults_in_categories(layout: PolicyLayout) -> Iterator[Fault]:
    seen: set[str] = set()
    for entry in entries(layout):
        if entry.category_id in seen:
            yield entry.path, "stands in the file twice"
        seen.add(entry.category_id)
        for faults in registry.FAULTS:
            for fact_id, reason in faults(entry.terms, layout.in_force):
                yield fact_id or entry.path, reason
