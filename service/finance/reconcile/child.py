"""A reconciliation in a process of its own, so that neither its memory nor its work is the tills'.

    python -m service.finance.reconcile.child   # the job as a line of JSON on standard input

It gives way to the tills, takes no more than MEMORY_MAX_BYTES, and ends when standard input does:
that is its parent's end, too.
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
from service.finance.journal.selection import BookersHang, Selection
from service.finance.journal.snapshot import Books
from service.finance.reconcile.files import BadFile
from service.finance.reconcile.here import Scope
from service.finance.reconcile.kept import Interrupted, Kept
from service.finance.reconcile.mapping import Mapping
from service.finance.reconcile.run import Run

MEMORY_MAX_BYTES = 2 << 30
NICENESS = 5
# It gives way to everybody, so on a busy machine a connection alone can take seconds; and nobody
# waits for it as for an answer.
TURN_S = 60
BEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """All that the run needs; the file comes as an open descriptor."""

    reconciliation_id: str
    jurisdiction: str
    from_on: str
    to_on: str
    retailer: str | None
    store: str | None
    mapping: dict[str, Any]
    with_matched: bool
    descriptor: int
    file_bytes: int
    database_url: str
    export_database_url: str | None
    clock_offset_s: float

    def scope(self) -> Scope:
        days = date.fromisoformat(self.from_on), date.fromisoformat(self.to_on)
        return Scope(self.jurisdiction, *days, self.retailer, self.store)

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> None:
    job = Job(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, hard))
    with open(job.descriptor, "rb") as file:
        asyncio.run(_reconcile(job, file))


def _end_with_parent() -> None:
    # Not by sys.stdin: a thread that waits in it aborts the interpreter's own end.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


async def _reconcile(job: Job, file: BinaryIO) -> None:
    ledger = await open_reports(job.database_url, TURN_S)
    books = await Books.open(ledger, job.export_database_url, TURN_S)
    try:
        await _run(job, file, ledger, books)
    finally:
        books.close()
        ledger.close()


async def _run(job: Job, file: BinaryIO, ledger: Reports, books: Books) -> None:
    made = Mapping(**{**job.mapping, "keys": tuple(map(tuple, job.mapping["keys"]))})
    number = UUID(job.reconciliation_id)
    async with ledger.connection() as connection, ledger.connection() as beating:
        kept = Kept(connection, job.jurisdiction)
        run = Run(job.scope(), made, _Pulse(Kept(beating, job.jurisdiction), number))
        try:
            await run.stage_file(file, job.file_bytes)
            wanted = Selection(job.jurisdiction, run.scope.from_on, run.scope.to_on)
            async with books.snapshot(wanted) as (reading, selection):
                await run.stage_books(reading, selection.until or 0)
            items = run.items(with_matched=job.with_matched)
            await kept.finish(number, items, run.summary, _now(job))
        except Interrupted:
            pass  # it is on record as such
        except BadFile as bad:
            await kept.fail(number, bad.fault, bad.facts, _now(job))
        except MemoryError:
            await kept.fail(number, "unreadable", {"line": "1"}, _now(job))
        except (LedgerAway, ReportsBusy, BookersHang, asyncpg.PostgresError):
            await kept.fail(number, "ledger_unavailable", {}, _now(job))


class _Pulse:
    """Tells how far it is, now and then."""

    def __init__(self, kept: Kept, number: UUID) -> None:
        self._kept = kept
        self._number = number
        self._last = 0.0

    async def __call__(self, share: float) -> None:
        if time.monotonic() - self._last >= BEAT_S:
            self._last = time.monotonic()
            await self._kept.beat(self._number, share)


def _now(job: Job) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=job.clock_offset_s)


if __name__ == "__main__":
    main()
