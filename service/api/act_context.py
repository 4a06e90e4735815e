"""The transaction in which an admin's request acts, in the caller's name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.db.acts import ActContext
from service.db.engine import connect
from service.retailers.directory import Caller
from service.wiring import Service

# An act changes a few rows. One that takes longer waits for a lock.
WITHIN_S = 5


@asynccontextmanager
async def act_context(service: Service, caller: Caller) -> AsyncIterator[ActContext]:
    """One transaction in the caller's name, committed at the end. Raises LedgerAway."""
    async with connect(service.engine, within_s=WITHIN_S) as connection:
        yield ActContext(
            connection, service.settings.jurisdiction, caller.key_id, service.clock.now()
        )
