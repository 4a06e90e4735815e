"""Where an admin's request acts: one transaction, in the caller's name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.db.acts import Office
from service.db.engine import connect
from service.retailers.directory import Caller
from service.wiring import Service

# An act touches a few rows; what takes longer waits for somebody.
WITHIN_S = 5


@asynccontextmanager
async def office_of(service: Service, caller: Caller) -> AsyncIterator[Office]:
    """The caller's office, in a transaction that commits at the end. Raises LedgerAway."""
    async with connect(service.engine, within_s=WITHIN_S) as connection:
        yield Office(connection, service.settings.jurisdiction, caller.key_id, service.clock.now())
