"""What can be wrong with a policy file each of whose values is well formed by itself."""

from collections.abc import Iterator
from itertools import pairwise

from service.core.money import WHOLE_BP
from service.core.policy import Fact, Terms, facts_of
from service.core.policy_parts import PolicyPart, entries
from service.core.yaml_lines import Path

# Where a fault lies (a fact's id, or a path in the file), and what it is.
Fault = tuple[str | Path, str]


def faults_in(part: PolicyPart) -> Iterator[Fault]:
    for fact in facts_of(part):
        yield from _faults_in_source(part, fact)
    if part.in_force.from_on.value > part.in_force.to_on.value:
        yield part.in_force.from_on.id, "is after to_on"
    if part.funding.total_bp != WHOLE_BP:
        yield ("funding",), f"the shares make {part.funding.total_bp}, not {WHOLE_BP}"
    yield from _faults_in_categories(part)


def _faults_in_source(part: PolicyPart, fact: Fact[object]) -> Iterator[Fault]:
    if fact.basis == "assumed":
        if fact.source is not None or fact.note is None:
            yield fact.id, "what is assumed has no source, and a note of what is not known"
    elif fact.source is None:
        yield fact.id, f"what is {fact.basis} needs its source"
    elif fact.source not in part.sources:
        yield fact.id, f"{fact.source} is not one of the sources"


def _faults_in_categories(part: PolicyPart) -> Iterator[Fault]:
    seen: set[str] = set()
    for entry in entries(part):
        if entry.category_id in seen:
            yield entry.path, "stands in the file twice"
        seen.add(entry.category_id)
        for reason in _gaps(entry.terms):
            yield entry.path, reason
        yield from _faults_in_quota(entry.terms)
        yield from _faults_in_tiers(entry.terms)
        yield from _faults_in_window(part, entry.terms)


def _gaps(terms: Terms) -> Iterator[str]:
    by_rate = terms.rate_bp is not None or bool(terms.grades)
    if by_rate == bool(terms.tiers):
        yield "needs either a rate (rate_bp, grades) or tiers"
    if by_rate != (terms.cap_fen is not None):
        yield "a rate needs a cap_fen, and tiers have none"
    if terms.quota is None:
        yield "needs a quota"


def _faults_in_quota(terms: Terms) -> Iterator[Fault]:
    if terms.quota and (terms.quota.unit == "fen") != (terms.quota.over_limit is not None):
        yield terms.quota.limit.id, "a quota in fen needs over_limit, and no other quota has it"
    trade_in = terms.trade_in
    if trade_in and trade_in.owned_before_on and trade_in.kind != "car":
        yield trade_in.owned_before_on.id, "is for cars"


def _faults_in_tiers(terms: Terms) -> Iterator[Fault]:
    for tier in terms.tiers:
        if tier.sum_fen.value > tier.from_fen.value:
            yield tier.sum_fen.id, "is more than the lowest price that it is paid for"
    for lower, higher in pairwise(terms.tiers):
        if lower.from_fen.value >= higher.from_fen.value:
            yield higher.from_fen.id, "is out of order: tiers rise from the lowest price"


def _faults_in_window(part: PolicyPart, terms: Terms) -> Iterator[Fault]:
    assert terms.from_on and terms.to_on, "Bug! The policy's own days are laid in."
    if terms.from_on.value > terms.to_on.value:
        yield terms.from_on.id, "is after to_on"
    if terms.from_on.value < part.in_force.from_on.value:
        yield terms.from_on.id, "is before the policy is in force"
    if terms.to_on.value > part.in_force.to_on.value:
        yield terms.to_on.id, "is after the policy has ended"
