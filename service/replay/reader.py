"""Processes that read and price slices of the ledger, and hand them over in their order.

Reader n of k has the slices n, n + k, n + 2k. A pipe holds little, so a reader is never more than
one slice ahead. The slices come in one order, however many readers there are.
"""

import asyncio
import gc
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import asyncpg

from service.core.policy import Policy
from service.core.policy_file import parse_policy
from service.db.away import LedgerAway, driver_url
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


class ReaderLost(Exception):
    """A reader ended before its last slice."""


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


@contextmanager
def readers(job: ReadJob, slices: Sequence[SliceBounds]) -> Iterator[Iterator[PricedSlice]]:
    """The priced slices in their order. On entry every reader has the snapshot, so its owner may
    end the transaction. Raises LedgerAway or ReaderLost."""
    count = max(1, min(READERS_MAX, os.cpu_count() or 1, len(slices)))
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for number in range(count):
            ours, theirs = spawn.Pipe(duplex=False)
            process = spawn.Process(
                target=_read, args=(job, slices[number::count], theirs), daemon=True
            )
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        for pipe in pipes:
            _received(pipe)
        yield (_received(pipes[number % count]) for number in range(len(slices)))
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.terminate()
            process.join()


def _received(pipe: "Connection[Any, Any]") -> Any:
    try:
        message = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise ReaderLost from None
    if isinstance(message, LedgerAway):
        raise message
    return message


def _read(job: ReadJob, slices: Sequence[SliceBounds], pipe: "Connection[Any, Any]") -> None:
    with suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(_read_slices(job, slices, pipe))


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
