"""What a check is to the doctor, and what it finds."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

import asyncpg
import redis.asyncio as redis

from service.config import Settings

Level = Literal["ok", "warning", "fault", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`said` is what is so; `remedy` what to do about it, empty where nothing is to be done."""

    level: Level
    said: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """The installation. An engine that is away is None."""

    settings: Settings
    database_url: str | None
    redis_url: str | None
    ledger: asyncpg.Connection | None
    gate: "redis.Redis | None"

    async def ask(self, query: str, *args: Any) -> Any:
        """One value of the ledger's, which is there: the checks that need it run only then."""
        assert self.ledger is not None, "Bug! A check that needs the ledger runs without it."
        return await self.ledger.fetchval(query, *args)


@dataclass(frozen=True, slots=True)
class Check:
    """`needs` is the engine without which it cannot be made."""

    name: str
    find: Callable[[Patient], AsyncIterator[Finding]]
    needs: Literal["", "ledger", "gate"] = ""


def ok(said: str) -> Finding:
    return Finding("ok", said)


def warning(said: str, remedy: str) -> Finding:
    return Finding("warning", said, remedy)


def fault(said: str, remedy: str) -> Finding:
    return Finding("fault", said, remedy)
