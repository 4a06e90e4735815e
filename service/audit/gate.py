"""At rest the gate has what the ledger has, to the fen.

A breach means that the gate would refuse a claim for which there is money, or admit one in vain;
it cannot overspend, for the ledger decides. While claims are on their way nothing can be said.
"""

import asyncio
import time

from service.audit.invariant import Finding
from service.claims.gate import Gate
from service.claims.ledger import Ledger
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
        known = [pool for pool in pools if pool.pool in look.versions]
        still = all(look.versions[pool.pool] == pool.version for pool in known)
        if still and look.in_flight == 0:
            finding = Finding(checked=len(known))
            for pool in known:
                left_fen = pool.allocated_fen - pool.spent_fen
                if look.left_fen[pool.pool] != left_fen:
                    gate_fen = look.left_fen[pool.pool]
                    finding.add(f"{pool.pool}: the gate has {gate_fen} left, the ledger {left_fen}")
            return finding
        await asyncio.sleep(LOOK_AGAIN_S)
    return "claims are on their way"
