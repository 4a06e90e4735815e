"""Sends a statement again after a deadlock, a serialization failure, or a quota row that appeared
after the statement began."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

TRIES_MAX = 4
RETRY_S = 0.01

Result = TypeVar("Result")


async def retried(statement: Callable[[], Awaitable[Result]]) -> Result:
    """The statement's result. A failed try leaves nothing behind. Re-raises the last error."""
    for attempt in range(1, TRIES_MAX):
        try:
            return await statement()
        except (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError):
            await asyncio.sleep(RETRY_S * attempt * random.uniform(0.5, 1.5))
        except asyncpg.CheckViolationError as error:
            # An UPDATE computes from the row in its snapshot, and checks that, before it finds that
            # the row has changed. During a key rotation the quota may be booked only since then.
            if error.constraint_name != "quota_not_negative":
                raise
    return await statement()
