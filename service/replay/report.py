"""One replay from beginning to end."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from service.core.policy import Policy, PolicyBook
from service.finance.journal.selection import Selection
from service.finance.journal.snapshot import Books
from service.replay.lines import LineFiles
from service.replay.period import ReplayPeriod
from service.replay.price import ages_proved
from service.replay.read import SLICE_CLAIMS, read_plan
from service.replay.reader import PolicySource, ReadJob, readers
from service.replay.run import ReplayPass
from service.replay.tally import ReplayTally

# Slots of the table of quotas for each claim: a sale has 1.2 lines, some with an old vehicle.
SLOTS_PERCENT = 160


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """`book`: the policies that priced the ledger's claims. `policy`: the one that is replayed,
    read from `source`. `budgets_fen`: budgets instead of the ledger's, by pool."""

    book: PolicyBook
    policy: Policy
    source: PolicySource
    period: ReplayPeriod
    budgets_fen: Mapping[str, int]


async def replay(
    books: Books,
    reading_url: str,
    request: ReplayRequest,
    files: LineFiles,
    on_progress: Callable[[int, int], None],
) -> ReplayTally:
    """Replay the claims that `books` reads, at `reading_url`. `on_progress` gets the slices so far
    and all. Raises LedgerAway, ReportsBusy, StandbyBehind, BookersHang or ReaderLost."""
    policy, period = request.policy, request.period
    selection = Selection(policy.jurisdiction, period.first, period.last)
    async with AsyncExitStack() as stack:
        async with books.snapshot(selection) as (reading, _):
            plan = await read_plan(reading, policy.jurisdiction, policy, period)
            job = ReadJob(
                reading_url, plan.snapshot, plan.generation, request.source, period,
                ages_proved(request.book), files.written,
            )  # fmt: skip
            slices = await stack.enter_async_context(readers(job, plan.slices))
        slots = len(plan.slices) * SLICE_CLAIMS * SLOTS_PERCENT // 100
        run = ReplayPass(plan, policy.schemes, request.budgets_fen, files, slots=slots)
        number = 0
        async for part in slices:
            run.take(part)
            number += 1
            on_progress(number, len(plan.slices))
        files.finish()
        return run.finish(period.ends)
