"""At rest the gate has what the ledger has, to the fen.

A breach means that the gate would refuse a claim for which there is money, or admit one in vain;
it cannot overspend, for the ledger decides. While claims are on their way nothing can be said.
"""

import asyncio
import time

from service.audit.invariant import Finding
from service.claims.gate.gate import Gate, drift_fen
from service.claims.ledger.ledger import Ledger
from service.claims.outcomes import GateAway

NAME = "gate is the ledger"
MEANING = "the gate refuses or admits by a wrong balance"

LOOKS_MAX = 10
LOOK_AGAIN_S = 0.3


async def check(gate: Gate, ledger: Ledger) -> Finding | str:
    """What was found, or why nothing can be said. Raises LedgerAway."""
    for _ in range(LOOKS_MAX):
        try:
            look = await gate.look(time.time())
        except GateAway:
            return "Redis does not answer"
        pools = await ledger.pools()
        drift = drift_fen(look, pools)
        if look.in_flight == 0 and drift.keys() == look.left_fen.keys():
            finding = Finding(checked=len(drift))
            for pool, fen in drift.items():
                if fen:
                    gate_fen = look.left_fen[pool]
                    finding.add(
                        f"{pool}: the gate has {gate_fen} left, the ledger {gate_fen - fen}"
                    )
            return finding
        await asyncio.sleep(LOOK_AGAIN_S)
    return "claims are on their way"
