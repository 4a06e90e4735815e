"""What one process needs to decide claims, opened together."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from service import metrics
from service.background import Background, Loop, ShutdownBudget
from service.claims.gate.gate import Gate
from service.claims.hops import Around, unobserved
from service.claims.ledger.ledger import Ledger
from service.claims.lifecycle import Lifecycle
from service.claims.path import ClaimPath
from service.claims.people.digests import Digester
from service.claims.people.rotation import check_keys
from service.claims.sweeper import Sweeper
from service.claims.tally import Tally
from service.clock import Clock
from service.config import Settings
from service.core.policy import PolicyBook
from service.db.engine import make_engine

# One for each of the path's batchers, and some for the sweeper.
CLAIM_CONNECTIONS_MAX = 8

QUEUES_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Claims:
    gate: Gate
    ledger: Ledger
    path: ClaimPath
    lifecycle: Lifecycle
    sweeper: Sweeper
    tally: Tally
    background: Background
    digester: Digester

    @classmethod
    async def open(
        cls,
        settings: Settings,
        book: PolicyBook,
        clock: Clock,
        engine: AsyncEngine,
        shutdown: ShutdownBudget,
        around: Around = unobserved,
    ) -> "Claims":
        """Checks the keys of personal data, then begins to sweep. At the end the sweeper stops and
        the claims under way are answered. Raises LedgerAway or Misconfigured."""
        digester = Digester(*settings.personal_data_keys(), rotating=settings.pii_rotating)
        await check_keys(engine, settings.jurisdiction, digester)
        # Connections of its own: reports and admin requests never keep a claim waiting for one.
        claims_engine = make_engine(
            str(settings.database_url), connections_max=CLAIM_CONNECTIONS_MAX, pre_ping=False
        )
        shutdown.closes(claims_engine.dispose)
        gate = Gate(str(settings.redis_url), settings.jurisdiction, sorted(book.pools))
        shutdown.closes(gate.close)
        ledger = Ledger(claims_engine, settings.jurisdiction)
        background = Background()
        shutdown.closes(background.drain)
        openings: dict[str, datetime] = {}
        answer_within_s = settings.answer_within_ms / 1000
        path = ClaimPath(
            book=book,
            gate=gate,
            ledger=ledger,
            digester=digester,
            clock=clock,
            hold_for=timedelta(minutes=settings.hold_minutes),
            gate_required=settings.gate_mode == "refuse",
            answer_within_s=answer_within_s,
            background=background,
            openings=openings,
            around=around,
        )
        shutdown.closes(path.drain)
        lifecycle = Lifecycle(
            gate, ledger, digester, clock, background, answer_within_s=answer_within_s
        )
        sweeper = Sweeper(
            gate,
            ledger,
            clock,
            claims_engine,
            jurisdiction=settings.jurisdiction,
            pool_parts=settings.pool_parts,
            openings=openings,
            without_gate="refusing" if settings.gate_mode == "refuse" else "bypassed",
        )
        shutdown.runs(sweeper.loop())
        claims = cls(gate, ledger, path, lifecycle, sweeper, Tally(book), background, digester)
        shutdown.runs(Loop("queues", QUEUES_EVERY_S, claims.show_queues))
        return claims

    async def show_queues(self) -> None:
        """How many items wait in each of this worker's queues, as metrics."""
        for name, waiting in (self.path.queues() | self.lifecycle.queues()).items():
            metrics.queue_items.labels(name).set(waiting)
