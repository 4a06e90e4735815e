"""Has e-invoices' files read by child processes, a few at a time."""

import asyncio
import json
import sys
from datetime import date
from typing import Any

from service.batcher import Overloaded
from service.invoices.child import unreadable_fault
from service.invoices.faults import UnreadableInvoice
from service.invoices.file import InvoiceFile

# Two cores are busy with claims. A file takes some 0.2 s, most of it the start of the process.
AT_ONCE_MAX = 2
WAITING_MAX = 20
# By the clock, above the child's limit of CPU time: a busy machine lets it wait.
READ_MAX_S = 15.0


class InvoiceReader:
    """The child processes of one worker."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)
        self._waiting = 0

    async def read(self, content: bytes, media_type: str) -> InvoiceFile:
        """The invoice in a file of one of MEDIA_TYPES. Raises UnreadableInvoice or Overloaded."""
        if self._waiting >= WAITING_MAX:
            raise Overloaded
        self._waiting += 1
        try:
            async with self._turns:
                answer = await _ask_child(content, media_type)
        finally:
            self._waiting -= 1
        if "fault" in answer:
            raise UnreadableInvoice(answer["fault"], answer["field"])
        facts = answer["invoice"]
        return InvoiceFile(**facts | {"dated_on": date.fromisoformat(facts["dated_on"])})


async def _ask_child(content: bytes, media_type: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service.invoices.child",
        media_type,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(READ_MAX_S):
            output, _ = await process.communicate(content)
    except TimeoutError:
        output = b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        answer: dict[str, Any] = json.loads(output)
        return answer
    # A signal ended it: the file took too much time or memory.
    by_signal = process.returncode is None or process.returncode < 0
    fault = "too_large" if by_signal else unreadable_fault(media_type)
    return {"fault": fault, "field": ""}
