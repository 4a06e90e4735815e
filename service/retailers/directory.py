"""Callers and stores: read from the ledger, cached for REMEMBER_S.

Every worker notices a suspension or a revoked key within REMEMBER_S. Lookups are by the key's
SHA-256, so the time of a comparison reveals nothing about a key.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from service.clock import Clock
from service.db.engine import connect
from service.db.tables import api_key, retailer, store
from service.retailers.keys import hash_secret
from service.retailers.last_used import LastUsed

REMEMBER_S = 2.0

# Unknown keys and stores are cached as well: a till with a wrong key must not reach the database
# with each request.
REMEMBERED_MAX = 50_000

_Name = TypeVar("_Name")
_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a valid key."""

    key_id: str
    retailer_id: str | None  # none: a key of the authorities
    retailer_state: str | None
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class EnrolledStore:
    store_id: str
    retailer_id: str
    state: str


class Directory:
    """Keys and stores of one jurisdiction. Methods raise LedgerAway."""

    def __init__(
        self, engine: AsyncEngine, jurisdiction: str, clock: Clock, last_used: LastUsed
    ) -> None:
        self._engine = engine
        self._jurisdiction = jurisdiction
        self._clock = clock
        self.last_used = last_used
        self._callers = _Memory[bytes, Caller](self._read_caller)
        self._stores = _Memory[str, EnrolledStore](self._read_store)

    async def caller(self, secret: str) -> Caller | None:
        """The caller whose key this is; None when it is unknown, expired or revoked."""
        caller = await self._callers.get(hash_secret(secret))
        if caller is not None:
            self.last_used.note(caller.key_id, self._clock.now())
        return caller

    async def store(self, store_id: str) -> EnrolledStore | None:
        return await self._stores.get(store_id)

    async def _read_caller(self, secret_sha256: bytes) -> Caller | None:
        query = (
            sa.select(api_key.c.key_id, api_key.c.retailer_id, retailer.c.state, api_key.c.scopes)
            .select_from(api_key.outerjoin(retailer))
            .where(
                api_key.c.jurisdiction == self._jurisdiction,
                api_key.c.secret_sha256 == secret_sha256,
                _still_valid(self._clock.now()),
            )
        )
        async with connect(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        return row and Caller(row.key_id, row.retailer_id, row.state, frozenset(row.scopes))

    async def _read_store(self, store_id: str) -> EnrolledStore | None:
        query = sa.select(store.c.store_id, store.c.retailer_id, store.c.state).where(
            store.c.jurisdiction == self._jurisdiction, store.c.store_id == store_id
        )
        async with connect(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        return row and EnrolledStore(row.store_id, row.retailer_id, row.state)


def _still_valid(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        sa.or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > now),
        sa.or_(api_key.c.revoked_at.is_(None), api_key.c.revoked_at > now),
    )


class _Memory(Generic[_Name, _Entry]):
    """A cache for REMEMBER_S, of misses too. Concurrent callers share one read."""

    def __init__(self, read: Callable[[_Name], Awaitable[_Entry | None]]) -> None:
        self._read = read
        self._entries: dict[_Name, tuple[float, asyncio.Future[_Entry | None]]] = {}

    async def get(self, name: _Name) -> _Entry | None:
        entry = self._entries.get(name)
        if entry is not None and entry[0] > time.monotonic():
            return entry[1].result() if entry[1].done() else await asyncio.shield(entry[1])
        if len(self._entries) >= REMEMBERED_MAX:
            self._entries.clear()  # unknown names filled it; the others are read again at once
        reading = asyncio.ensure_future(self._read(name))
        self._entries[name] = (time.monotonic() + REMEMBER_S, reading)
        try:
            return await asyncio.shield(reading)
        except Exception:
            self._entries.pop(name, None)  # an error is not cached
            raise
