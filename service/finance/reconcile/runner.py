"""Runs reconciliations for the API, each in a child process."""

import asyncio
import sys
from dataclasses import asdict
from typing import BinaryIO
from uuid import UUID

import structlog

from service.clock import Clock
from service.db.away import LedgerAway
from service.db.reports import Reports, ReportsBusy
from service.finance.reconcile.child import ReconcileJob
from service.finance.reconcile.reconciliations import ReconcileRequest, Reconciliations

log = structlog.get_logger()


class ReconcileRunner:
    """The child processes of one worker. `close` kills them and records them as interrupted."""

    def __init__(
        self, reports: Reports, database_url: str, export_database_url: str | None, clock: Clock
    ) -> None:
        self._reports = reports
        self._urls = (database_url, export_database_url)
        self._clock = clock
        self._processes: dict[UUID, asyncio.subprocess.Process] = {}
        self._watching: set[asyncio.Task[None]] = set()

    async def start(self, request: ReconcileRequest, file: BinaryIO, *, with_matched: bool) -> None:
        """Start the run of a request that is on record as running. The caller may close the file
        afterwards."""
        scope = request.scope
        job = ReconcileJob(
            str(request.reconciliation_id),
            scope.jurisdiction,
            scope.from_on.isoformat(),
            scope.to_on.isoformat(),
            scope.retailer,
            scope.store,
            asdict(request.mapping),
            with_matched,
            file.fileno(),
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
        assert process.stdin is not None, "Bug! The pipe was requested."
        process.stdin.write(job.line())
        self._processes[request.reconciliation_id] = process
        watching = asyncio.create_task(self._watch(request, process))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)

    async def _watch(self, request: ReconcileRequest, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        self._processes.pop(request.reconciliation_id, None)
        if code == 0:
            return
        log.error("reconciliation_interrupted", exit_code=code)
        try:
            async with self._reports.connection() as connection:
                reconciliations = Reconciliations(connection, request.scope.jurisdiction)
                now = self._clock.now()
                await reconciliations.fail(request.reconciliation_id, "interrupted", {}, now)
        except (LedgerAway, ReportsBusy):
            pass  # the next read finds the run silent, and marks it

    async def close(self) -> None:
        for process in self._processes.values():
            process.kill()
        if self._watching:
            await asyncio.wait(self._watching)
