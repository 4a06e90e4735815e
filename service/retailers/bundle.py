"""What one process needs to know its callers, opened together."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from service.background import ShutdownBudget
from service.clock import Clock
from service.config import Settings
from service.retailers.directory import Directory
from service.retailers.last_used import LastUsed
from service.retailers.limiter import Limiter


@dataclass(frozen=True, slots=True)
class Callers:
    directory: Directory
    limiter: Limiter | None  # None: no rate limit

    @classmethod
    def open(
        cls, settings: Settings, clock: Clock, engine: AsyncEngine, shutdown: ShutdownBudget
    ) -> "Callers":
        """Begins to write when each key was last used; what is left is written at the end."""
        last_used = LastUsed(engine, settings.jurisdiction)
        shutdown.closes(last_used.write)
        shutdown.runs(last_used.loop())
        directory = Directory(engine, settings.jurisdiction, clock, last_used)
        limiter = _limiter(settings)
        if limiter is not None:
            shutdown.closes(limiter.close)
        return cls(directory, limiter)


def _limiter(settings: Settings) -> Limiter | None:
    if settings.rate_limit_per_s is None:
        return None
    return Limiter(
        str(settings.redis_url),
        settings.jurisdiction,
        per_s=settings.rate_limit_per_s,
        burst=settings.rate_limit_burst or 10 * settings.rate_limit_per_s,
    )
