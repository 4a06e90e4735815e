"""Processes that read and price slices of the ledger, and hand them over in their order.

Reader n of k has the slices n, n + k, n + 2k. A pipe holds little, so a reader is never more than
one slice ahead. The slices come in one order, however many readers there are.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import asyncpg

from service.core.policy import Policy
from service.core.policy_file import parse_policy
from service.db.away import LedgerAway, driver_url
from service.replay.faults import ReaderLost
from service.replay.period import ReplayPeriod
from service.replay.price import AgesProved, PricedSlice, Pricer
from service.replay.read import LINES, SliceBounds

# More would read faster than one pass can take in.
READERS_MAX = 3
CONNECT_S = 10
# A slice takes a tenth of a second. A reader waits for the pass in between, in a transaction.
_SETTINGS = {
    "application_name": "butie replay",
    "timezone": "UTC",
    "statement_timeout": "300s",
    "idle_in_transaction_session_timeout": "900s",
    "default_transaction_read_only": "on",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # PostgreSQL takes a range of ids for one row, and would join the tables in a nested loop.
    "enable_nestloop": "off",
    "plan_cache_mode": "force_custom_plan",  # the slices differ in size
}
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
# Rows and quotes have no circles, and each slice makes a million objects.
_GARBAGE_EVERY = 1_000_000


@dataclass(frozen=True, slots=True)
class PolicySource:
    """The text of a policy file, with changed values by path. Unlike a policy it can be handed to
    another process."""

    text: str
    file_name: str
    changes: Mapping[str, str]

    def read(self) -> Policy:
        """Raises PolicyFileError."""
        return parse_policy(self.text, self.file_name, self.changes)


@dataclass(frozen=True, slots=True)
class ReadJob:
    """What every reader gets."""

    database_url: str
    snapshot: str
    generation: int
    source: PolicySource
    period: ReplayPeriod
    ages: AgesProved
    texts: bool


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error that a reader did not expect, as its traceback."""

    text: str


@dataclass(frozen=True, slots=True)
class _Reader:
    process: SpawnProcess
    pipe: "Connection[Any, Any]"

    async def receive(self) -> Any:
        """Its next message. Other tasks run while it waits, and it can be cancelled: Ctrl-C is a
        cancellation. Raises LedgerAway or ReaderLost."""
        await _readable(self.pipe.fileno())
        try:
            message = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            exit_code = self.process.exitcode or 0
            if exit_code < 0:  # a signal's number
                raise ReaderLost from None
            raise RuntimeError(f"Bug! A reader of the replay ended with {exit_code}.") from None
        match message:
            case LedgerAway():
                raise message
            case _Failure(text):
                raise RuntimeError(f"Bug! A reader of the replay failed:\n{text}")
        return message

    def end(self) -> None:
        self.process.terminate()
        self.process.join()
        self.pipe.close()


async def _readable(descriptor: int) -> None:
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


@asynccontextmanager
async def readers(
    job: ReadJob, slices: Sequence[SliceBounds]
) -> AsyncIterator[AsyncIterator[PricedSlice]]:
    """The priced slices in their order. On entry every reader has the snapshot, so its owner may
    end the transaction. Raises LedgerAway or ReaderLost."""
    count = max(1, min(READERS_MAX, os.cpu_count() or 1, len(slices)))
    started: list[_Reader] = []
    try:
        with _without_interrupts():
            for number in range(count):
                started.append(_start(job, slices[number::count]))
        for each in started:
            await each.receive()
        yield _in_order(started, len(slices))
    finally:
        for each in started:
            each.end()


async def _in_order(started: Sequence[_Reader], slices: int) -> AsyncIterator[PricedSlice]:
    for number in range(slices):
        yield await started[number % len(started)].receive()


def _start(job: ReadJob, slices: Sequence[SliceBounds]) -> _Reader:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_read, args=(job, slices, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Reader(process, ours)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that start here never get SIGINT: a terminal sends it to them as well, and their
    parent ends them."""
    resource_tracker.ensure_running()  # its start would unblock the signal
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _read(job: ReadJob, slices: Sequence[SliceBounds], pipe: "Connection[Any, Any]") -> None:
    with suppress(BrokenPipeError):  # the parent has ended
        try:
            asyncio.run(_read_slices(job, slices, pipe))
        except BrokenPipeError:
            raise
        except Exception:
            pipe.send(_Failure(traceback.format_exc()))


async def _read_slices(
    job: ReadJob, slices: Sequence[SliceBounds], pipe: "Connection[Any, Any]"
) -> None:
    policy = job.source.read()
    pricer = Pricer(policy, job.period, job.ages, texts=job.texts)
    gc.freeze()
    gc.set_threshold(_GARBAGE_EVERY)
    try:
        connection = await asyncpg.connect(
            driver_url(job.database_url), timeout=CONNECT_S, server_settings=_SETTINGS
        )
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(f"SET TRANSACTION SNAPSHOT '{job.snapshot}'")
            statement = await connection.prepare(LINES)
            pipe.send(None)
            for part in slices:
                rows = await statement.fetch(
                    policy.jurisdiction, part.first, part.end, job.generation,
                    list(part.categories) if part.categories is not None else None,
                )  # fmt: skip
                pipe.send(pricer.price(rows, history=part.history))
                del rows
        await connection.close()
    except BrokenPipeError:
        raise
    except _AWAY as error:
        pipe.send(LedgerAway(f"PostgreSQL did not answer a reader of the replay ({error})"))
