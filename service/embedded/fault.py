"""Faults of the embedded engines, each as one sentence for the terminal."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The kernel's answers to a root without capabilities, or with no other user to change to.
POWER_LACKING = (errno.EPERM, errno.EACCES, errno.EINVAL)


class EmbeddedError(Exception):
    """The engines cannot run; `str()` of it is a sentence that says why and what to do."""


@contextmanager
def explained(data_dir: Path) -> Iterator[None]:
    """Turn OSErrors into EmbeddedErrors about `data_dir`."""
    try:
        yield
    except OSError as fault:
        why = os.strerror(fault.errno) if fault.errno else str(fault)
        where = f" ({os.fsdecode(fault.filename)})" if fault.filename else ""
        raise EmbeddedError(
            f"the sandbox cannot keep its data in {data_dir}: {why}{where}; "
            f"free or repair that folder, or name another in BUTIE_DATA_DIR{advice_to_root(why)}"
        ) from fault


def advice_to_root(why: str) -> str:
    """What to add to the sentence when root lacks capabilities that it usually has."""
    if os.geteuid() != 0 or not any(os.strerror(code) in why for code in POWER_LACKING):
        return ""
    return "; or start it as an ordinary user: this root lacks powers to run PostgreSQL as another"
