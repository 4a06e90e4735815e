"""The sandbox's engines: a real PostgreSQL and a real Valkey as child processes.

    with engines(Path(".butie")) as urls:   # raises EmbeddedError(sentence)
        urls.database_url                   # postgresql://butie:…@127.0.0.1:<port>/butie
        urls.redis_url                      # redis://:…@127.0.0.1:<port>/0

The ledger is as durable here as anywhere: a later start on the same folder finds every row.
Valkey is empty at each start, because the gate is a view of the ledger.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.embedded import postgres, valkey
from service.embedded.fault import EmbeddedError, explained
from service.embedded.folder import sole_owner
from service.embedded.restart import Restarts

__all__ = ["EmbeddedError", "Engines", "engines"]


@dataclass(frozen=True)
class Engines:
    """Where the two engines listen, passwords included; both on 127.0.0.1 only."""

    database_url: str
    redis_url: str


@contextmanager
def engines(data_dir: Path, on_restart: Callable[[str], None] | None = None) -> Iterator[Engines]:
    """Run both engines on `data_dir`, made if need be, and stop them at the end.

    With `on_restart`, an engine that dies is restarted with its data and on its port, and
    `on_restart` gets a sentence about it, from another thread. An engine that dies again at once
    ends this process as a SIGTERM does, which has to arrive as KeyboardInterrupt.

    Raises EmbeddedError when they cannot run, with nothing left running. Call it from the main
    thread: on Linux the kernel stops the engines when the calling thread ends, however it ends.
    """
    restarts = Restarts(on_restart) if on_restart else None
    try:
        with ExitStack() as stack:
            with explained(data_dir):
                home = stack.enter_context(sole_owner(data_dir))
                database_url = stack.enter_context(postgres.running(home, restarts))
                redis_url = stack.enter_context(valkey.running(home, restarts))
            yield Engines(database_url, redis_url)
    except (KeyboardInterrupt, Exception):  # a dead engine's fault explains the others
        if restarts is None or restarts.fault is None:
            raise
    if restarts and restarts.fault:
        raise restarts.fault
