"""Reads which serials and quotas are used, and what the budgets have left.

Quotes and the reasons of refusals come from here. It decides nothing: the constraints decide, at
commit.
"""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from service.claims.claim import LineDemand, QuotaBooking, QuotaKey
from service.claims.outcomes import LineReasons
from service.core.calendar import SHANGHAI
from service.core.reasons import Reason, ReasonCode

_SERIALS_SQL = """
SELECT s.serial_no, s.claim_id, c.retailer_id
FROM serial_claimed AS s JOIN claim AS c USING (claim_id)
WHERE s.jurisdiction = $1 AND s.serial_no = ANY ($2::text[])
"""
_QUOTAS_SQL = """
SELECT subject, quota, period, used
FROM quota_use JOIN unnest($2::bytea[], $3::text[], $4::text[]) AS asked (subject, quota, period)
    USING (subject, quota, period)
WHERE jurisdiction = $1
"""
_POOLS_SQL = """
SELECT pool, allocated_fen - spent_fen AS left_fen,
    (SELECT min(opens_at) FROM tranche AS t
     WHERE t.jurisdiction = p.jurisdiction AND t.pool = p.pool AND t.state = 'planned') AS opens_at
FROM pool_total AS p WHERE jurisdiction = $1
"""

# When the next tranche opens, by pool. A pool without a planned tranche is not in it.
Openings = Mapping[str, datetime]


@dataclass(slots=True)
class Standing:
    """Serials, quotas and pools as the ledger had them. `admit` takes from this copy, so the next
    claim of a batch sees what is left."""

    owners: dict[str, tuple[UUID | None, str]]  # serial -> (claim, its retailer)
    used: MutableMapping[QuotaKey, int]
    left_fen: dict[str, int]
    openings: Openings

    def copy(self) -> "Standing":
        return Standing(dict(self.owners), dict(self.used), dict(self.left_fen), self.openings)

    def reasons_against(self, retailer_id: str, lines: Sequence[LineDemand]) -> LineReasons:
        """The reasons against a claim of these lines. Without any, takes what the lines demand."""
        before = self.copy()
        reasons = [
            (line.line_no, reason) for line in lines for reason in self.take(retailer_id, line)
        ]
        if reasons:
            self.owners, self.used, self.left_fen = before.owners, before.used, before.left_fen
        return tuple(reasons)

    def take(self, retailer_id: str, line: LineDemand) -> list[Reason]:
        """The reasons against one line. Without any, takes what it demands."""
        reasons = [
            *self._serials_taken(retailer_id, line.serials),
            *self._quotas_used(line.quotas),
        ]
        left = self.left_fen.get(line.pool, 0)
        if line.subsidy_fen > left:
            reasons.append(budget_exhausted(line.pool, self.openings))
        if not reasons:
            self.owners.update((serial, (None, retailer_id)) for serial in line.serials)
            for quota in line.quotas:
                self.used[quota.key] = self.used.get(quota.key, 0) + quota.amount
            self.left_fen[line.pool] = left - line.subsidy_fen
        return reasons

    def _serials_taken(self, retailer_id: str, serials: Iterable[str]) -> list[Reason]:
        for serial in serials:
            if serial in self.owners:
                claim_id, owner = self.owners[serial]
                # Another retailer's claim is not named.
                facts = {"claim_id": str(claim_id)} if claim_id and owner == retailer_id else {}
                return [Reason(ReasonCode.SERIAL_ALREADY_CLAIMED, facts=dict(facts))]
        return []

    def _quotas_used(self, quotas: Iterable[QuotaBooking]) -> Iterable[Reason]:
        """One reason a quota, which may be booked under two digests."""
        reasons: dict[tuple[str, str], Reason] = {}
        for quota in quotas:
            if reason := self._quota_used(quota):
                reasons.setdefault((quota.kind, quota.quota), reason)
        return reasons.values()

    def _quota_used(self, quota: QuotaBooking) -> Reason | None:
        left = quota.limit - self.used.get(quota.key, 0)
        if quota.amount <= left:
            return None
        if quota.kind == "trade_in":
            return Reason(ReasonCode.QUOTA_USED, "trade_in")
        if quota.unit == "fen":
            facts: dict[str, str | int] = {"left_fen": max(left, 0), "limit_fen": quota.limit}
            return Reason(ReasonCode.QUOTA_USED, "fen", facts)
        return Reason(ReasonCode.QUOTA_USED, "", {"limit": quota.limit})


def budget_exhausted(pool: str, openings: Openings) -> Reason:
    """Exhausted for ever, or until the next tranche opens."""
    if pool not in openings:
        return Reason(ReasonCode.BUDGET_EXHAUSTED, facts={"pool": pool})
    opens_at = openings[pool].astimezone(SHANGHAI)
    facts: dict[str, str | int] = {
        "pool": pool,
        "opens_at": f"{opens_at:%Y-%m-%d %H:%M}",
        "opens_at_instant": opens_at.isoformat(),
    }
    return Reason(ReasonCode.BUDGET_EXHAUSTED, "until", facts)


def over_budget(
    lines: Sequence[LineDemand], left_fen: dict[str, int], openings: Openings
) -> LineReasons:
    """The lines that the balances do not cover, taken from the first line on."""
    left = dict(left_fen)
    reasons = []
    for line in lines:
        if line.subsidy_fen > left[line.pool]:
            reasons.append((line.line_no, budget_exhausted(line.pool, openings)))
        else:
            left[line.pool] -= line.subsidy_fen
    return tuple(reasons)


async def read_standing(
    connection: asyncpg.Connection, jurisdiction: str, lines: Iterable[LineDemand]
) -> Standing:
    """The standing of all that these lines demand. Raises asyncpg's errors."""
    lines = list(lines)
    serials = list({serial for line in lines for serial in line.serials})
    quotas = list({quota.key for line in lines for quota in line.quotas})
    owners = await connection.fetch(_SERIALS_SQL, jurisdiction, serials)
    used = await connection.fetch(
        _QUOTAS_SQL,
        jurisdiction,
        [subject for subject, _, _ in quotas],
        [quota for _, quota, _ in quotas],
        [period for _, _, period in quotas],
    )
    left = await connection.fetch(_POOLS_SQL, jurisdiction)
    return Standing(
        owners={row["serial_no"]: (row["claim_id"], row["retailer_id"]) for row in owners},
        used={(row["subject"], row["quota"], row["period"]): row["used"] for row in used},
        left_fen={row["pool"]: row["left_fen"] for row in left},
        openings={row["pool"]: row["opens_at"] for row in left if row["opens_at"]},
    )
