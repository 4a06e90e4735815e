"""The reconciliations on record: request, progress and result.

A run writes its list and its end in one transaction. It updates `beat_at` every second. A run that
has not done so for `SILENT_S` is dead: the next read marks it as interrupted.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from service.finance.reconcile.ledger_units import ReconcileScope
from service.finance.reconcile.mapping import BadRowReason, ColumnMapping
from service.finance.reconcile.run import ReconcileItem, ReconcileSummary

RunState = Literal["running", "done", "failed"]

# Each run takes a core and a gigabyte of disk for one or two minutes.
RUNNING_MAX = 2
SILENT_S = 120
LISTED_MAX = 200

_EXPIRE_SQL = f"""
    UPDATE reconciliation SET state = 'failed', fault = 'interrupted',
        ended_at = asked_at + (beat_at - began_at)
    WHERE jurisdiction = $1 AND state = 'running'
        AND beat_at < clock_timestamp() - interval '{SILENT_S} seconds'
"""  # noqa: S608
_RUNNING_SQL = "SELECT count(*) FROM reconciliation WHERE jurisdiction = $1 AND state = 'running'"
_OPEN_SQL = """
    INSERT INTO reconciliation (
        jurisdiction, reconciliation_id, retailer_id, store_id, from_on, to_on, mapping,
        file_sha256, file_bytes, state, asked_by, asked_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'running', $10, $11)
"""
_BEAT_SQL = """
    UPDATE reconciliation SET progress_bp = $3, beat_at = clock_timestamp()
    WHERE jurisdiction = $1 AND reconciliation_id = $2 AND state = 'running'
"""
_FINISH_SQL = """
    UPDATE reconciliation
    SET state = 'done', progress_bp = 10000, summary = $3, ended_at = $4
    WHERE jurisdiction = $1 AND reconciliation_id = $2 AND state = 'running'
"""
_FAIL_SQL = """
    UPDATE reconciliation SET state = 'failed', fault = $3, fault_facts = $4, ended_at = $5
    WHERE jurisdiction = $1 AND reconciliation_id = $2 AND state = 'running'
"""
_COLUMNS = """
    reconciliation_id, state, progress_bp, retailer_id, store_id, from_on, to_on, mapping,
    encode(file_sha256, 'hex') AS file_sha256, file_bytes, asked_by, asked_at, ended_at, summary,
    fault, fault_facts
"""


class Interrupted(Exception):
    """The run was marked as dead while it went on. Nothing of it is stored."""


@dataclass(frozen=True, slots=True)
class ReconcileRequest:
    """The input of a run, and the key that asks for it."""

    reconciliation_id: UUID
    scope: ReconcileScope
    mapping: ColumnMapping
    file_sha256: bytes
    file_bytes: int
    key_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """`progress_bp` runs from 0 to 10,000. `summary` is set in state `done`, `fault` in state
    `failed`."""

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
    fault: str | None
    fault_facts: dict[str, str]


class Reconciliations:
    """The reconciliations of one jurisdiction, over one connection. Raises asyncpg's errors."""

    def __init__(self, connection: asyncpg.Connection, jurisdiction: str) -> None:
        self._connection = connection
        self._jurisdiction = jurisdiction

    async def busy(self) -> bool:
        """Whether RUNNING_MAX runs are going on."""
        await self._connection.execute(_EXPIRE_SQL, self._jurisdiction)
        return int(await self._connection.fetchval(_RUNNING_SQL, self._jurisdiction)) >= RUNNING_MAX

    async def open(self, request: ReconcileRequest) -> bool:
        """Record the request as running. False: too many runs are going on."""
        async with self._connection.transaction():
            lock = "SELECT pg_advisory_xact_lock(hashtext('reconciliations ' || $1::text))"
            await self._connection.execute(lock, self._jurisdiction)
            if await self.busy():
                return False
            scope = request.scope
            await self._connection.execute(
                _OPEN_SQL,
                self._jurisdiction,
                request.reconciliation_id,
                scope.retailer,
                scope.store,
                scope.from_on,
                scope.to_on,
                json.dumps(asdict(request.mapping), ensure_ascii=False),
                request.file_sha256,
                request.file_bytes,
                request.key_id,
                request.at,
            )
        return True

    async def read(self, reconciliation_id: UUID) -> Reconciliation | None:
        await self._connection.execute(_EXPIRE_SQL, self._jurisdiction)
        query = (
            f"SELECT {_COLUMNS} FROM reconciliation"  # noqa: S608
            " WHERE jurisdiction = $1 AND reconciliation_id = $2"
        )
        row = await self._connection.fetchrow(query, self._jurisdiction, reconciliation_id)
        return None if row is None else _reconciliation(row)

    async def bad_rows(self, reconciliation_id: UUID, count: int) -> list[tuple[int, BadRowReason]]:
        """(line, reason) of the first `count` bad rows."""
        query = (
            "SELECT file_line, why FROM reconciliation_item WHERE jurisdiction = $1"
            " AND reconciliation_id = $2 AND finding = 'bad_row' AND item_no <= $3 ORDER BY item_no"
        )
        rows = await self._connection.fetch(query, self._jurisdiction, reconciliation_id, count)
        return [(row["file_line"], row["why"]) for row in rows]

    async def newest(self) -> list[Reconciliation]:
        """At most LISTED_MAX reconciliations, the newest first."""
        await self._connection.execute(_EXPIRE_SQL, self._jurisdiction)
        query = (
            f"SELECT {_COLUMNS} FROM reconciliation WHERE jurisdiction = $1"  # noqa: S608
            f" ORDER BY asked_at DESC, reconciliation_id DESC LIMIT {LISTED_MAX}"
        )
        return [
            _reconciliation(row) for row in await self._connection.fetch(query, self._jurisdiction)
        ]

    async def beat(self, reconciliation_id: UUID, share: float) -> None:
        """Record progress, `share` from 0 to 1, and that the run is alive. Raises Interrupted."""
        tag = await self._connection.execute(
            _BEAT_SQL, self._jurisdiction, reconciliation_id, int(share * 10_000)
        )
        if tag != "UPDATE 1":
            raise Interrupted

    async def finish(
        self,
        reconciliation_id: UUID,
        items: AsyncIterator[ReconcileItem],
        summary: ReconcileSummary,
        now: datetime,
    ) -> None:
        """Store the list and the result, or nothing. Raises Interrupted."""
        head = (self._jurisdiction, reconciliation_id)

        async def numbered() -> AsyncIterator[tuple[Any, ...]]:
            number = 0
            async for item in items:
                number += 1
                yield (*head, number, *item)

        async with self._connection.transaction():
            await self._connection.copy_records_to_table(
                "reconciliation_item", records=numbered(), timeout=None
            )
            result = json.dumps(asdict(summary))
            if await self._connection.execute(_FINISH_SQL, *head, result, now) != "UPDATE 1":
                raise Interrupted

    async def fail(
        self, reconciliation_id: UUID, fault: str, facts: dict[str, str], now: datetime
    ) -> None:
        """Record the failure of a run, unless it has ended already."""
        facts_json = json.dumps(facts, ensure_ascii=False)
        await self._connection.execute(
            _FAIL_SQL, self._jurisdiction, reconciliation_id, fault, facts_json, now
        )


def _reconciliation(row: asyncpg.Record) -> Reconciliation:
    fields = dict(row)
    for name in ("mapping", "summary", "fault_facts"):
        fields[name] = json.loads(fields[name]) if fields[name] is not None else None
    return Reconciliation(**{**fields, "fault_facts": fields["fault_facts"] or {}})
