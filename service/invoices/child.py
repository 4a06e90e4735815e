"""Reads one e-invoice's file in a process of its own: a file can make a parser slow or large.

    python -m service.invoices.child application/ofd    # the file on standard input

It writes the invoice, or the fault, as a line of JSON. The limits below end it if a file takes more
than any invoice needs.
"""

import json
import os
import resource
import sys
from contextlib import suppress
from dataclasses import asdict

from service.invoices.faults import Fault, UnreadableInvoice
from service.invoices.read import read_file

CPU_MAX_S = 3
MEMORY_MAX_BYTES = 256 << 20  # of addresses; an invoice takes 60 MB of memory
NICENESS = 5


def run(content: bytes, media_type: str) -> dict[str, object]:
    """What the process writes."""
    try:
        invoice = read_file(content, media_type)
    except UnreadableInvoice as unreadable:
        return {"fault": unreadable.fault, "field": unreadable.field}
    except MemoryError:
        return {"fault": "too_large", "field": ""}
    except Exception:  # whatever a library makes of a spoilt file
        return {"fault": unreadable_fault(media_type), "field": ""}
    return {"invoice": asdict(invoice) | {"dated_on": invoice.dated_on.isoformat()}}


def unreadable_fault(media_type: str) -> Fault:
    return "not_ofd" if media_type == "application/ofd" else "not_xml"


def main() -> None:
    os.nice(NICENESS)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # where memory is short, this process ends before those that serve
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(run(sys.stdin.buffer.read(), sys.argv[1])))


if __name__ == "__main__":
    main()
