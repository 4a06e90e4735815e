"""Statements that the ledger asks us to send again: a deadlock, a serialization failure, a right
that was booked after the statement had begun."""

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
        except asyncpg.CheckViolationError as error:
            # PostgreSQL checks what it worked out from the row as it was, and only then looks
            # whether somebody has changed it: while a key is replaced a right may be new there.
            if error.constraint_name != "quota_not_negative":
                raise
    return await statement()
