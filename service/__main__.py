"""`python -m service` is `butie`."""

import gc
import sys
from collections.abc import Callable

from service.server.unused import leave_out

if __name__ == "__main__":
    # A process that multiprocessing spawns runs the main module's file first. It would not run a
    # package's `__main__` if it knew it by its name.
    __spec__ = None

if sys.argv[1:] == ["serve"]:  # a worker has its server's arguments
    leave_out()


def main() -> None:
    # Imports make hundreds of thousands of objects, and all of them stay. Collecting garbage among
    # them takes a quarter of a command's start.
    gc.disable()
    try:
        command = _command()
    except KeyboardInterrupt:
        raise SystemExit("Stopped.") from None
    gc.freeze()
    gc.enable()
    command()


def _command() -> Callable[[], None]:
    if sys.argv[1:] != ["serve"]:
        from service.cli.commands import app

        return app
    from service.cli.serve import serve

    return serve


if __name__ == "__main__":
    main()
