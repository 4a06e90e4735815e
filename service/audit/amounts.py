"""The rate, cap and subsidy of every line are those that its policy gives.

A breach means that a line was priced wrongly, that a row was changed by hand, or that a policy file
was changed after claims had been priced by it.
"""

import json
from collections.abc import Callable
from functools import lru_cache

from asyncpg.cursor import CursorFactory

from service.audit.invariant import Finding, Invariant, Snapshot
from service.core.checkout import EnergyGrade
from service.core.policy import PolicyBook
from service.core.quote import price_of

Pricer = Callable[..., tuple[int | None, int | None, int] | None]

_LINES = """
WITH {scope} line AS (
    SELECT l.claim_id, l.line_no, c.policy, l.category, l.price_fen, l.energy_grade,
        (l.facts - 'imei2')::text AS facts,  -- another one in each line, and no price depends on it
        l.rate_bp, l.cap_fen, l.subsidy_fen
    FROM {claim} AS c JOIN claim_line AS l USING (claim_id) WHERE c.jurisdiction = $1
)
"""
# What pricing reads, and what it gave. List prices repeat: a few thousand prices millions of lines.
_PRICED = "policy, category, price_fen, energy_grade, facts, rate_bp, cap_fen, subsidy_fen"
_ALIKE = f"{_LINES} SELECT {_PRICED}, count(*) FROM line GROUP BY {_PRICED}"  # noqa: S608
_EACH = f"{_LINES} SELECT {_PRICED}, claim_id, line_no FROM line"  # noqa: S608
PRICES_REMEMBERED = 10_000
ROWS_AT_A_TIME = 1_000


async def _check(snapshot: Snapshot) -> Finding:
    finding = Finding(before=snapshot.lines_before)
    price = _pricer(snapshot.book)
    right = True
    async for *facts, rate_bp, cap_fen, subsidy_fen, lines in _rows(snapshot, _ALIKE):
        finding.checked += lines
        right &= price(*facts) == (rate_bp, cap_fen, subsidy_fen)
    if not right:
        await _name_lines(snapshot, price, finding)
    return finding


async def _name_lines(snapshot: Snapshot, price: Pricer, finding: Finding) -> None:
    async for policy, *facts, rate_bp, cap_fen, subsidy_fen, claim_id, line_no in _rows(
        snapshot, _EACH
    ):
        booked = (rate_bp, cap_fen, subsidy_fen)
        due = price(policy, *facts)
        if due != booked:
            finding.add(
                f"claim {claim_id} line {line_no}: rate, cap and subsidy are "
                f"{booked}, {policy} gives {due}"
            )


def _rows(snapshot: Snapshot, sql: str) -> CursorFactory:
    return snapshot.connection.cursor(*snapshot.narrowed(sql), prefetch=ROWS_AT_A_TIME)


def _pricer(book: PolicyBook) -> Pricer:
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
