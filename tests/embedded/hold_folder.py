"""Run as a script: a service that holds the engines on a folder until its standard input ends.

Prints one line of JSON when the engines are up, or when it is refused, and one more if it is
interrupted: whether both still answer then.
"""

import asyncio
import ctypes
import json
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import redis

from service.embedded import EmbeddedError, Engines, engines, folder, launch, process


def give_up_access_to_any_folder() -> None:
    """Make root heed the permissions of folders as everyone else does."""
    cap_dac_read_search = 2
    libc = ctypes.CDLL(None, use_errno=True)
    header = launch.CapabilityHeader(launch.CAPABILITY_VERSION_3, 0)
    sets = (launch.CapabilitySets * 2)()
    launch.checked(libc.capget(ctypes.byref(header), sets))
    sets[0].effective &= ~(1 << launch.CAP_DAC_OVERRIDE | 1 << cap_dac_read_search)
    launch.checked(libc.capset(ctypes.byref(header), sets))


def do_without_death_signal() -> None:
    """Behave as on a system whose kernel does not tell a child of its parent's death."""
    launched = process.launched

    def launched_without(
        command: Sequence[str], account: folder.Account | None, death_signal: int
    ) -> list[str]:
        return launched(command, account, 0)  # type: ignore[arg-type]

    process.launched = launched_without


OPTIONS = {
    "--heed-permissions": give_up_access_to_any_folder,
    "--without-death-signal": do_without_death_signal,
}


async def ledger_answers(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT true"))
    finally:
        await connection.close()


def both_answer(urls: Engines) -> bool:
    with redis.Redis.from_url(urls.redis_url) as gate:
        return asyncio.run(ledger_answers(urls.database_url)) and bool(gate.ping())


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def hold(data_dir: Path) -> int:
    try:
        with engines(data_dir) as urls:
            try:
                # Whoever has read this line may interrupt us before `print` has returned.
                tell(database_url=urls.database_url, redis_url=urls.redis_url)
                # Not a read: a signal just before one is not noticed until the read is over.
                while not select.select([sys.stdin], [], [], 0.1)[0]:
                    pass
            except KeyboardInterrupt:
                tell(both_answer=both_answer(urls))
    except EmbeddedError as fault:
        tell(refused=str(fault))
        return 1
    return 0


if __name__ == "__main__":
    # A shell without job control starts its background jobs, and so us, deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for option in sys.argv[2:]:
        OPTIONS[option]()
    sys.exit(hold(Path(sys.argv[1])))
