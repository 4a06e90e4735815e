"""At rest the gate's balance equals the ledger's, to the fen.

A breach means that the gate would refuse a claim for which there is money, or admit one that the
ledger then refuses. It cannot overspend: the ledger decides. While claims are in flight the two
cannot be compared.
"""

import asyncio
import time

from service.audit.invariant import Finding
from service.claims.gate.gate import Gate
from service.claims.gate.view import drift_fen
from service.claims.ledger.ledger import Ledger
from service.claims.outcomes import GateAway

INVARIANT_NAME = "gate is the ledger"
INVARIANT_MEANING = "the gate refuses or admits by a wrong balance"

COMPARISONS_MAX = 10
COMPARE_AGAIN_S = 0.3


async def check(gate: Gate, ledger: Ledger) -> Finding | str:
    """The finding, or why the two cannot be compared. Raises LedgerAway."""
    for _ in range(COMPARISONS_MAX):
        try:
            view = await gate.view(time.time())
        except GateAway:
            return "Redis does not answer"
        pools = await ledger.pools()
        drift = drift_fen(view, pools)
        if view.in_flight == 0 and drift.keys() == view.left_fen.keys():
            finding = Finding(checked=len(drift))
            for pool, fen in drift.items():
                if fen:
                    gate_fen = view.left_fen[pool]
                    finding.add(
                        f"{pool}: the gate has {gate_fen} left, the ledger {gate_fen - fen}"
                    )
            return finding
        await asyncio.sleep(COMPARE_AGAIN_S)
    return "claims are on their way"
