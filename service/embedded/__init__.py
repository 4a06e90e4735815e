"""The sandbox's engines: a real PostgreSQL and a real Valkey as child processes.

    with engines(Path(".butie")) as urls:   # raises EmbeddedError(sentence)
        urls.database_url                   # postgresql://butie:…@127.0.0.1:<port>/butie
        urls.redis_url                      # redis://:…@127.0.0.1:<port>/0

The ledger is as durable here as anywhere: a later start on the same folder finds every row.
Valkey begins empty at each start, since the gate is a view of the ledger.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.embedded import postgres, valkey
from service.embedded.fault import EmbeddedError, told_plainly
from service.embedded.folder import sole_owner

__all__ = ["EmbeddedError", "Engines", "engines"]


@dataclass(frozen=True)
class Engines:
    """Where the two engines listen, passwords included; both on 127.0.0.1 only."""

    database_url: str
    redis_url: str


@contextmanager
def engines(data_dir: Path) -> Iterator[Engines]:
    """Run both engines on `data_dir`, made if need be, and stop them at the end.

    Raises EmbeddedError when they cannot run, with nothing left running. Call it from the main
    thread: on Linux the kernel stops the engines when the calling thread ends, however it ends.
    """
    with ExitStack() as stack:
        with told_plainly(data_dir):
            home = stack.enter_context(sole_owner(data_dir))
            database_url = stack.enter_context(postgres.running(home))
            redis_url = stack.enter_context(valkey.running(home))
        yield Engines(database_url, redis_url)
