"""Runs reconciliations for the API: each in a process of its own, watched to its end."""

import asyncio
import sys
from dataclasses import asdict
from typing import BinaryIO
from uuid import UUID

import structlog

from service.clock import Clock
from service.db.away import LedgerAway
from service.db.reports import Reports, ReportsBusy
from service.finance.reconcile.child import Job
from service.finance.reconcile.kept import Asked, Kept

log = structlog.get_logger()


class Runner:
    """Of one worker. Close it, and what runs is ended and on record as interrupted."""

    def __init__(
        self, reports: Reports, database_url: str, export_database_url: str | None, clock: Clock
    ) -> None:
        self._reports = reports
        self._urls = (database_url, export_database_url)
        self._clock = clock
        self._processes: dict[UUID, asyncio.subprocess.Process] = {}
        self._watching: set[asyncio.Task[None]] = set()

    async def start(self, asked: Asked, file: BinaryIO, *, with_matched: bool) -> None:
        """Of a reconciliation that is kept as running. The file may be closed then."""
        scope = asked.scope
        job = Job(
            str(asked.reconciliation_id),
            scope.jurisdiction,
            scope.from_on.isoformat(),
            scope.to_on.isoformat(),
            scope.retailer,
            scope.store,
            asdict(asked.mapping),
            with_matched,
            file.fileno(),
            asked.file_bytes,
            *self._urls,
            self._clock.offset.total_seconds(),
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "service.finance.reconcile.child",
            stdin=asyncio.subprocess.PIPE,
            pass_fds=[file.fileno()],
        )
        assert process.stdin is not None, "Bug! It was asked for."
        process.stdin.write(job.line())
        self._processes[asked.reconciliation_id] = process
        watching = asyncio.create_task(self._watch(asked, process))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)

    async def _watch(self, asked: Asked, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        self._processes.pop(asked.reconciliation_id, None)
        if code == 0:
            return
        log.error("reconciliation_interrupted", exit_code=code)
        try:
            async with self._reports.connection() as connection:
                kept = Kept(connection, asked.scope.jurisdiction)
                now = self._clock.now()
                await kept.fail(asked.reconciliation_id, "interrupted", {}, now)
        except (LedgerAway, ReportsBusy):
            pass  # whoever looks next finds it silent

    async def close(self) -> None:
        for process in self._processes.values():
            process.kill()
        if self._watching:
            await asyncio.wait(self._watching)
