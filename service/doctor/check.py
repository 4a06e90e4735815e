"""A check of the doctor's, what it is given, and its result."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

import asyncpg
import redis.asyncio as redis

from service.config import Settings

CheckLevel = Literal["ok", "warning", "fault", "unknown"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`remedy` says what to do about `fact`; it is empty when there is nothing to do."""

    level: CheckLevel
    fact: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """The installation. `ledger` and `gate` are None while they cannot be reached."""

    settings: Settings
    database_url: str | None
    redis_url: str | None
    ledger: asyncpg.Connection | None
    gate: "redis.Redis | None"

    async def ask(self, query: str, *args: Any) -> Any:
        """One value from the ledger. Only checks that need the ledger may call it."""
        assert self.ledger is not None, "Bug! A check that needs the ledger runs without it."
        return await self.ledger.fetchval(query, *args)


@dataclass(frozen=True, slots=True)
class Check:
    """Without the engine in `needs` the check is not run."""

    name: str
    run: Callable[[Patient], AsyncIterator[CheckResult]]
    needs: Literal["", "ledger", "gate"] = ""


def ok(fact: str) -> CheckResult:
    return CheckResult("ok", fact)


def warning(fact: str, remedy: str) -> CheckResult:
    return CheckResult("warning", fact, remedy)


def fault(fact: str, remedy: str) -> CheckResult:
    return CheckResult("fault", fact, remedy)
