"""Reconciliations as they are kept: what was asked, how far it is, what came of it.

The run itself writes its list and its end in one transaction. It gives a sign of life every
second; one that has not for `SILENT_S` has died, and whoever looks next says so.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from service.finance.reconcile.files import Fault
from service.finance.reconcile.here import Scope
from service.finance.reconcile.mapping import Mapping, Why
from service.finance.reconcile.run import Item, Summary

RunState = Literal["running", "done", "failed"]

# Each takes a core and a gigabyte of disk for a minute or two.
RUNNING_MAX = 2
SILENT_S = 120
LISTED_MAX = 200

EXPIRE = f"""
    UPDATE reconciliation SET state = 'failed', fault = 'interrupted',
        ended_at = asked_at + (beat_at - began_at)
    WHERE jurisdiction = $1 AND state = 'running'
        AND beat_at < clock_timestamp() - interval '{SILENT_S} seconds'
"""  # noqa: S608
RUNNING = "SELECT count(*) FROM reconciliation WHERE jurisdiction = $1 AND state = 'running'"
OPEN = """
    INSERT INTO reconciliation (
        jurisdiction, reconciliation_id, retailer_id, store_id, from_on, to_on, mapping,
        file_sha256, file_bytes, state, asked_by, asked_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'running', $10, $11)
"""
BEAT = """
    UPDATE reconciliation SET progress_bp = $3, beat_at = clock_timestamp()
    WHERE jurisdiction = $1 AND reconciliation_id = $2 AND state = 'running'
"""
FINISH = """
    UPDATE reconciliation
    SET state = 'done', progress_bp = 10000, summary = $3, ended_at = $4
    WHERE jurisdiction = $1 AND reconciliation_id = $2 AND state = 'running'
"""
FAIL = """
    UPDATE reconciliation SET state = 'failed', fault = $3, fault_facts = $4, ended_at = $5
    WHERE jurisdiction = $1 AND reconciliation_id = $2 AND state = 'running'
"""
COLUMNS = """
    reconciliation_id, state, progress_bp, retailer_id, store_id, from_on, to_on, mapping,
    encode(file_sha256, 'hex') AS file_sha256, file_bytes, asked_by, asked_at, ended_at, summary,
    fault, fault_facts
"""


class Interrupted(Exception):
    """The run was declared dead while it went on: what it has is not kept."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run is told to do, and by whom."""

    reconciliation_id: UUID
    scope: Scope
    mapping: Mapping
    file_sha256: bytes
    file_bytes: int
    key_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """`progress_bp` runs to 10000; `summary` is there when it is done, `fault` when it failed."""

    reconciliation_id: UUID
    state: RunState
    progress_bp: int
    retailer_id: str | None
    store_id: str | None
    from_on: date
    to_on: date
    mapping: dict[str, Any]
    file_sha256: str
    file_bytes: int
    asked_by: str
    asked_at: datetime
    ended_at: datetime | None
    summary: dict[str, Any] | None
    fault: Fault | None
    fault_facts: dict[str, str]


class Kept:
    """Of one jurisdiction, over one connection."""

    def __init__(self, connection: asyncpg.Connection, jurisdiction: str) -> None:
        self._connection = connection
        self._place = jurisdiction

    async def busy(self) -> bool:
        """Whether as many run as may."""
        await self._connection.execute(EXPIRE, self._place)
        return int(await self._connection.fetchval(RUNNING, self._place)) >= RUNNING_MAX

    async def open(self, asked: Asked) -> bool:
        """Whether it may run: it is kept then."""
        async with self._connection.transaction():
            lock = "SELECT pg_advisory_xact_lock(hashtext('reconciliations ' || $1::text))"
            await self._connection.execute(lock, self._place)
            if await self.busy():
                return False
            scope = asked.scope
            await self._connection.execute(
                OPEN,
                self._place,
                asked.reconciliation_id,
                scope.retailer,
                scope.store,
                scope.from_on,
                scope.to_on,
                json.dumps(asdict(asked.mapping), ensure_ascii=False),
                asked.file_sha256,
                asked.file_bytes,
                asked.key_id,
                asked.at,
            )
        return True

    async def read(self, reconciliation_id: UUID) -> Reconciliation | None:
        await self._connection.execute(EXPIRE, self._place)
        query = (
            f"SELECT {COLUMNS} FROM reconciliation"  # noqa: S608
            " WHERE jurisdiction = $1 AND reconciliation_id = $2"
        )
        row = await self._connection.fetchrow(query, self._place, reconciliation_id)
        return None if row is None else _reconciliation(row)

    async def bad_rows(self, reconciliation_id: UUID, count: int) -> list[tuple[int, Why]]:
        """(line, why) of the first ones."""
        query = (
            "SELECT file_line, why FROM reconciliation_item WHERE jurisdiction = $1"
            " AND reconciliation_id = $2 AND finding = 'bad_row' AND item_no <= $3 ORDER BY item_no"
        )
        rows = await self._connection.fetch(query, self._place, reconciliation_id, count)
        return [(row["file_line"], row["why"]) for row in rows]

    async def newest(self) -> list[Reconciliation]:
        """At most LISTED_MAX, the newest first."""
        await self._connection.execute(EXPIRE, self._place)
        query = (
            f"SELECT {COLUMNS} FROM reconciliation WHERE jurisdiction = $1"  # noqa: S608
            f" ORDER BY asked_at DESC, reconciliation_id DESC LIMIT {LISTED_MAX}"
        )
        return [_reconciliation(row) for row in await self._connection.fetch(query, self._place)]

    async def beat(self, reconciliation_id: UUID, share: float) -> None:
        """A sign of life. Raises Interrupted."""
        done = await self._connection.execute(
            BEAT, self._place, reconciliation_id, int(share * 10_000)
        )
        if done != "UPDATE 1":
            raise Interrupted

    async def finish(
        self,
        reconciliation_id: UUID,
        items: AsyncIterator[Item],
        summary: Summary,
        now: datetime,
    ) -> None:
        """Keep the list and the end, or nothing. Raises Interrupted, and what `items` raises."""
        head = (self._place, reconciliation_id)

        async def numbered() -> AsyncIterator[tuple[Any, ...]]:
            number = 0
            async for item in items:
                number += 1
                yield (*head, number, *item)

        async with self._connection.transaction():
            await self._connection.copy_records_to_table(
                "reconciliation_item", records=numbered(), timeout=None
            )
            told = json.dumps(asdict(summary))
            if await self._connection.execute(FINISH, *head, told, now) != "UPDATE 1":
                raise Interrupted

    async def fail(
        self, reconciliation_id: UUID, fault: Fault, facts: dict[str, str], now: datetime
    ) -> None:
        """Unless it has ended already."""
        told = json.dumps(facts, ensure_ascii=False)
        await self._connection.execute(FAIL, self._place, reconciliation_id, fault, told, now)


def _reconciliation(row: asyncpg.Record) -> Reconciliation:
    told = dict(row)
    for name in ("mapping", "summary", "fault_facts"):
        told[name] = json.loads(told[name]) if told[name] is not None else None
    return Reconciliation(**{**told, "fault_facts": told["fault_facts"] or {}})
