"""Opens tranches, expires holds, corrects the gate, and ends the admissions of dead processes."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from service import metrics
from service.background import Loop
from service.claims.gate.gate import OVERDUE_MAX, Gate
from service.claims.gate.view import GateView, drift_fen
from service.claims.ledger.finish import FinishReport
from service.claims.ledger.ledger import Ledger
from service.claims.outcomes import GateAway
from service.clock import Clock
from service.db.engine import LedgerAway
from service.pools.slices import set_aside
from service.pools.state import PoolState
from service.pools.tranches import open_due

# Within this time an empty gate is back in service, and a raised budget is spent from.
EVERY_S = 0.5

# Holds that one statement expires, and statements of a kind in one pass. The rest waits for the
# next pass, or for another worker's.
EXPIRE_MAX = 200
ROUNDS_MAX = 10

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one pass did: overdue admissions that had committed, those that it gave up, and holds
    that expired."""

    committed: int
    given_up: int
    expired: int


class Sweeper:
    """One in each worker. Passes of several workers may overlap: each step is idempotent."""

    def __init__(
        self,
        gate: Gate,
        ledger: Ledger,
        clock: Clock,
        engine: AsyncEngine,
        *,
        jurisdiction: str,
        pool_parts: int,
        openings: dict[str, datetime],
        without_gate: Literal["bypassed", "refusing"],
    ) -> None:
        self._gate = gate
        self._ledger = ledger
        self._clock = clock
        self._engine = engine
        self._jurisdiction = jurisdiction
        self._pool_parts = pool_parts
        self._openings = openings
        self._without_gate = without_gate
        self._gate_logged_away = False

    def loop(self) -> Loop:
        return Loop("sweep", EVERY_S, self.run_once, expected=(GateAway, LedgerAway))

    async def run_once(self) -> Sweep:
        """Open tranches, expire holds, copy the pools to the gate, resolve overdue admissions, set
        money aside for the pools' slices.

        Raises LedgerAway; GateAway, after all steps that need no gate.
        """
        # Setting money aside is last because it waits for the lock of the pools' own rows.
        try:
            swept = await self._sweep()
        except GateAway:
            await self._set_aside()
            raise
        await self._set_aside()
        return swept

    async def _sweep(self) -> Sweep:
        await self._open()
        expired = await self._expire()
        try:
            committed, given_up = await self._heal()
        except GateAway as away:
            self._show_gate(up=False)
            if not self._gate_logged_away:
                self._gate_logged_away = True
                log.warning("gate_away", reason=away.reason)
            raise
        self._show_gate(up=True)
        if self._gate_logged_away:
            self._gate_logged_away = False
            log.info("gate_back")
        return Sweep(committed, given_up, expired)

    async def _set_aside(self) -> None:
        await set_aside(self._engine, self._jurisdiction, self._pool_parts)

    async def _open(self) -> None:
        opened = await open_due(self._engine, self._jurisdiction, self._clock.now())
        if opened:
            log.info("tranches_opened", count=opened)
        openings = await self._ledger.openings()
        self._openings.clear()
        self._openings.update(openings)

    async def _expire(self) -> int:
        expired = 0
        for _ in range(ROUNDS_MAX):
            report = await self._ledger.finish([], self._clock.now(), due_max=EXPIRE_MAX)
            expired += report.expired
            if report.expired:
                await self._tell_gate(report)
            if report.expired < EXPIRE_MAX:
                break
        if expired:
            metrics.holds_ended.labels("expired").inc(expired)
            log.info("holds_expired", count=expired)
        return expired

    async def _tell_gate(self, report: FinishReport) -> None:
        try:
            await self._gate.settle(report.pools, freed=report.freed)
        except GateAway:
            pass  # it is updated when it is back, and its memory of serials is only a hint

    async def _heal(self) -> tuple[int, int]:
        """(overdue admissions that had committed, those given up)."""
        committed = given_up = 0
        for _ in range(ROUNDS_MAX):
            # The gate is read first. A ledger that is then older than the gate was restored.
            view = await self._gate.view(time.time())
            pools = await self._ledger.pools()
            self._show(view, pools)
            await self._gate.follow(pools, view.versions)
            if not view.overdue:
                break
            # Fenced before the gate releases the money: a fenced claim can never commit.
            had_committed = await self._ledger.give_up(view.overdue)
            await self._gate.settle(
                await self._ledger.pools(), done=[attempt.claim_id for attempt in view.overdue]
            )
            committed += len(had_committed)
            given_up += len(view.overdue) - len(had_committed)
            if len(view.overdue) < OVERDUE_MAX:
                break
        if committed or given_up:
            metrics.admissions_released.labels("committed").inc(committed)
            metrics.admissions_released.labels("given_up").inc(given_up)
            log.warning("admissions_released", committed=committed, given_up=given_up)
        return committed, given_up

    def _show_gate(self, *, up: bool) -> None:
        metrics.gate_up.set(up)
        metrics.gate_mode.labels("guarding").set(up)
        metrics.gate_mode.labels(self._without_gate).set(not up)

    def _show(self, view: GateView, pools: list[PoolState]) -> None:
        metrics.admissions_in_flight.set(view.in_flight)
        metrics.admissions_overdue.set(view.overdue_count)
        # While a claim is in flight, the two balances may differ.
        if view.in_flight == 0:
            for pool, fen in drift_fen(view, pools).items():
                metrics.gate_drift_fen.labels(pool).set(fen)
