"""The rate, cap and subsidy of every line are those that its policy gives.

A breach means that a line was priced wrongly, that a row was changed by hand, or that a policy file
was changed after claims had been priced by it.
"""

import json
from functools import lru_cache

from service.audit.invariant import Finding, Invariant, Snapshot
from service.core.checkout import EnergyGrade
from service.core.policy import PolicyBook
from service.core.quote import price_of

_LINES = """
SELECT l.claim_id, l.line_no, c.policy, l.category, l.price_fen, l.energy_grade,
    (l.facts - 'imei2')::text,  -- another one in each line, and no price depends on it
    l.rate_bp, l.cap_fen, l.subsidy_fen
FROM claim AS c JOIN claim_line AS l USING (claim_id) WHERE c.jurisdiction = $1
"""
# List prices repeat: a few thousand distinct ones price millions of lines.
PRICES_REMEMBERED = 100_000
ROWS_AT_A_TIME = 5_000


async def _check(snapshot: Snapshot) -> Finding:
    finding = Finding()
    price = _pricer(snapshot.book)
    rows = snapshot.connection.cursor(_LINES, snapshot.jurisdiction, prefetch=ROWS_AT_A_TIME)
    async for row in rows:
        finding.checked += 1
        claim_id, line_no, policy, category, price_fen, grade, facts, *booked = row
        due = price(policy, category, price_fen, grade, facts)
        if due != tuple(booked):
            finding.add(
                f"claim {claim_id} line {line_no}: rate, cap and subsidy are "
                f"{tuple(booked)}, {policy} gives {due}"
            )
    return finding


def _pricer(book: PolicyBook):  # type: ignore[no-untyped-def]
    policies = {policy.id: policy for policy in book.policies}

    @lru_cache(PRICES_REMEMBERED)
    def price(
        policy_id: str,
        category_id: str,
        price_fen: int,
        grade: EnergyGrade | None,
        facts: str | None,
    ) -> tuple[int | None, int | None, int] | None:
        """(rate in basis points, cap, subsidy); None where the policy is not known."""
        policy = policies.get(policy_id)
        if policy is None or category_id not in policy.categories:
            return None
        category = policy.categories[category_id]
        due = price_of(policy, category, price_fen, grade, json.loads(facts or "{}"))
        return (due.rate_bp, due.cap_fen, due.subsidy_fen)

    return price


INVARIANT = Invariant("amounts right", "a line got more or less than its policy gives", _check)
