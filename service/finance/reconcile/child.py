"""A reconciliation in a process of its own, so that it slows no claims.

    python -m service.finance.reconcile.child   # the job as a line of JSON on standard input

It runs at a low priority and with at most MEMORY_MAX_BYTES. It ends when its standard input is
closed, so it never outlives its parent.
"""

import asyncio
import json
import os
import resource
import sys
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, BinaryIO
from uuid import UUID

import asyncpg

from service.db.away import LedgerAway
from service.db.reports import Reports, ReportsBusy, open_reports
from service.finance.files.faults import BadFile
from service.finance.journal.selection import BookersHang, Selection
from service.finance.journal.snapshot import Books
from service.finance.reconcile.ledger_units import ReconcileScope
from service.finance.reconcile.mapping import ColumnMapping
from service.finance.reconcile.reconciliations import Interrupted, Reconciliations
from service.finance.reconcile.run import ReconcileRun

MEMORY_MAX_BYTES = 2 << 30
NICENESS = 5
# At its low priority, a connection can take seconds on a busy machine. No request waits for it.
TURN_S = 60
BEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class ReconcileJob:
    """The input of a run. `descriptor` is the open file, inherited from the parent."""

    reconciliation_id: str
    jurisdiction: str
    from_on: str
    to_on: str
    retailer: str | None
    store: str | None
    mapping: dict[str, Any]
    with_matched: bool
    descriptor: int
    database_url: str
    export_database_url: str | None
    clock_offset_s: float

    def scope(self) -> ReconcileScope:
        days = date.fromisoformat(self.from_on), date.fromisoformat(self.to_on)
        return ReconcileScope(self.jurisdiction, *days, self.retailer, self.store)

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> None:
    job = ReconcileJob(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, hard))
    with open(job.descriptor, "rb") as file:
        asyncio.run(_reconcile(job, file))


def _end_with_parent() -> None:
    # Not sys.stdin: a thread that blocks in it makes the interpreter abort at its end.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


async def _reconcile(job: ReconcileJob, file: BinaryIO) -> None:
    ledger = await open_reports(job.database_url, TURN_S)
    books = await Books.open(ledger, job.export_database_url, TURN_S)
    try:
        await _run(job, file, ledger, books)
    finally:
        books.close()
        ledger.close()


async def _run(job: ReconcileJob, file: BinaryIO, ledger: Reports, books: Books) -> None:
    mapping = ColumnMapping(**{**job.mapping, "keys": tuple(map(tuple, job.mapping["keys"]))})
    number = UUID(job.reconciliation_id)
    async with ledger.connection() as connection, ledger.connection() as beating:
        reconciliations = Reconciliations(connection, job.jurisdiction)
        run = ReconcileRun(
            job.scope(), mapping, _Heartbeat(Reconciliations(beating, job.jurisdiction), number)
        )
        try:
            await run.stage_file(file)
            period = Selection(job.jurisdiction, run.scope.from_on, run.scope.to_on)
            async with books.snapshot(period) as (reading, selection):
                await run.stage_books(reading, selection.until or 0)
            items = run.items(with_matched=job.with_matched)
            await reconciliations.finish(number, items, run.summary, _now(job))
        except Interrupted:
            pass  # the record says so already
        except BadFile as bad:
            await reconciliations.fail(number, bad.fault, bad.facts, _now(job))
        except MemoryError:
            await reconciliations.fail(number, "unreadable", {"line": "1"}, _now(job))
        except (LedgerAway, ReportsBusy, BookersHang, asyncpg.PostgresError):
            await reconciliations.fail(number, "ledger_unavailable", {}, _now(job))


class _Heartbeat:
    """Records the progress, at most once in BEAT_S."""

    def __init__(self, reconciliations: Reconciliations, number: UUID) -> None:
        self._reconciliations = reconciliations
        self._number = number
        self._last = 0.0

    async def __call__(self, share: float) -> None:
        if time.monotonic() - self._last >= BEAT_S:
            self._last = time.monotonic()
            await self._reconciliations.beat(self._number, share)


def _now(job: ReconcileJob) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=job.clock_offset_s)


if __name__ == "__main__":
    main()
