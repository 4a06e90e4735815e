"""Statements that the ledger asks us to send again: a deadlock, a serialization failure."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

TRIES_MAX = 4
RETRY_S = 0.01

Result = TypeVar("Result")


async def retried(statement: Callable[[], Awaitable[Result]]) -> Result:
    """The statement's result; nothing of a try that failed so was kept. Raises asyncpg's errors,
    those of the last try included."""
    for attempt in range(1, TRIES_MAX):
        try:
            return await statement()
        except (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError):
            await asyncio.sleep(RETRY_S * attempt * random.uniform(0.5, 1.5))
    return await statement()
