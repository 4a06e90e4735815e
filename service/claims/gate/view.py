"""What the gate has, as the sweeper and the audit compare it with the ledger (view.lua)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.claims.claim import Attempt
from service.pools.state import PoolState, pools_left


@dataclass(frozen=True, slots=True)
class GateView:
    """What the gate has: the version of each row, by pool and slice, and the balance of each pool
    (allocated - spent - in flight). `overdue`: at most OVERDUE_MAX of the `overdue_count`
    admissions that are past their deadline."""

    versions: dict[tuple[str, int], int]
    left_fen: dict[str, int]
    in_flight: int
    overdue_count: int
    overdue: list[Attempt]


def drift_fen(view: GateView, pools: Sequence[PoolState]) -> dict[str, int]:
    """Gate balance minus ledger balance, for pools whose rows the gate has at their current
    version."""
    behind = {
        row.pool for row in pools if view.versions.get((row.pool, row.slice_no)) != row.version
    }
    return {
        pool: view.left_fen[pool] - fen
        for pool, fen in pools_left(pools).items()
        if pool not in behind
    }


def read_view(answer: Any) -> GateView:
    """The answer of view.lua."""
    pools_json, in_flight, overdue_count, *overdue = answer
    pools = json.loads(pools_json)
    return GateView(
        versions={
            (name, int(slice_no)): int(version)
            for name, pool in pools.items()
            for slice_no, version in pool["versions"].items()
        },
        left_fen={name: int(pool["left"]) for name, pool in pools.items()},
        in_flight=int(in_flight),
        overdue_count=int(overdue_count),
        overdue=[_attempt(overdue[n], overdue[n + 1]) for n in range(0, len(overdue), 2)],
    )


def _attempt(claim_id: bytes, record: bytes) -> Attempt:
    admission = json.loads(record)
    return Attempt(admission["retailer"], admission["key"], UUID(claim_id.decode()))
