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

# A file takes some 0.3 s, most of it the start of the process.
AT_ONCE_MAX = 1
# A retailer's next file waits until its former one is read. So none takes all turns.
WAIT_MAX_S = 3.0
WAITING_MAX = 8
# By the clock, above the child's limit of CPU time: a busy machine lets it wait.
READ_MAX_S = 15.0


class InvoiceReader:
    """The child processes of one worker."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)
        self._waiting: set[str] = set()

    async def read(self, retailer_id: str, content: bytes, media_type: str) -> InvoiceFile:
        """The invoice in a file of one of MEDIA_TYPES. Raises UnreadableInvoice; Overloaded if the
        retailer has another file read, or others take too long."""
        if retailer_id in self._waiting or len(self._waiting) >= WAITING_MAX:
            raise Overloaded
        self._waiting.add(retailer_id)
        try:
            await self._take_turn()
            try:
                answer = await _ask_child(content, media_type)
            finally:
                self._turns.release()
        finally:
            self._waiting.discard(retailer_id)
        if "fault" in answer:
            raise UnreadableInvoice(answer["fault"], answer["field"])
        facts = answer["invoice"]
        return InvoiceFile(**facts | {"dated_on": date.fromisoformat(facts["dated_on"])})

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(WAIT_MAX_S):
                await self._turns.acquire()
        except TimeoutError:
            raise Overloaded from None


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
