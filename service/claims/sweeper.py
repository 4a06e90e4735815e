"""Keeps the gate true: brings it the ledger's view, and ends what a dead process left behind."""

import asyncio
import time
from dataclasses import dataclass

import structlog

from service import metrics
from service.claims.gate import Gate
from service.claims.ledger import Ledger
from service.claims.outcomes import GateAway
from service.db.engine import LedgerAway

# An empty gate is back in service, and a budget that was raised is seen, within this time.
EVERY_S = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one pass did: admissions that turned out committed, and those given up."""

    committed: int
    given_up: int


class Sweeper:
    """One in each worker: passes may overlap, for each step is harmless to repeat."""

    def __init__(self, gate: Gate, ledger: Ledger) -> None:
        self._gate = gate
        self._ledger = ledger
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let `run` end after the pass it is in."""
        self._stopping.set()

    async def run(self) -> None:
        """Sweep until stopped."""
        while not self._stopping.is_set():
            try:
                await self.run_once()
                metrics.gate_up.set(1)
            except GateAway:
                metrics.gate_up.set(0)
            except LedgerAway:
                pass  # every request says so already
            except Exception:
                log.exception("sweep_failed")
            try:
                await asyncio.wait_for(self._stopping.wait(), EVERY_S)
            except TimeoutError:
                pass  # time for the next pass

    async def run_once(self) -> Sweep:
        """Tell the gate how the pools stand, and resolve overdue admissions.

        The ledger is asked about each, and fenced first: a claim that is given up here can
        never commit later. Raises GateAway or LedgerAway.
        """
        pools = await self._ledger.pools()
        for pool in pools:
            metrics.pool_fen.labels(pool.pool, "allocated").set(pool.allocated_fen)
            metrics.pool_fen.labels(pool.pool, "spent").set(pool.spent_fen)
            metrics.pool_fen.labels(pool.pool, "remaining").set(pool.allocated_fen - pool.spent_fen)
        await self._gate.settle(pools)
        overdue = await self._gate.overdue(time.time())
        if not overdue:
            return Sweep(0, 0)
        committed = await self._ledger.give_up(overdue)
        await self._gate.settle(
            await self._ledger.pools(), done=[attempt.claim_id for attempt in overdue]
        )
        sweep = Sweep(len(committed), len(overdue) - len(committed))
        metrics.admissions_released.labels("committed").inc(sweep.committed)
        metrics.admissions_released.labels("given_up").inc(sweep.given_up)
        log.warning("admissions_released", committed=sweep.committed, given_up=sweep.given_up)
        return sweep
