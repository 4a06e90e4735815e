"""`python -m loadtests.bench.memory [--against FOLDER] [--rounds N] [--claims N]`.

The resident memory of a sandbox's server with one worker, at rest and after so many claims. FOLDER
is another checkout, and `--against-python` its interpreter. The sides alternate.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import uvloop

from loadtests.bench.servers import free_port
from loadtests.bench.traffic import Run, Target, TillConnection, claim_requests, connect_tills

HERE = Path(__file__).parents[2]
UP_WITHIN_S = 120
CONNECTIONS = 64
CHUNK = 5_000
_numbers = count(step=1_000_000)


@contextmanager
def served(checkout: Path, python: str) -> Iterator[tuple["subprocess.Popen[bytes]", Target]]:
    """A sandbox of this checkout, up and never asked for anything but /readyz."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="butie-memory-") as folder:
        server = subprocess.Popen(
            [python, "-m", "service", "serve"],
            cwd=checkout,
            env=os.environ
            | {"PYTHONPATH": str(checkout), "BUTIE_DATA_DIR": folder, "BUTIE_PORT": str(port)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until = time.monotonic() + UP_WITHIN_S
            while not _ready(port):
                assert server.poll() is None and time.monotonic() < until, "It did not start."
                time.sleep(0.2)
            access = json.loads((Path(folder) / "sandbox.json").read_text())
            yield server, Target(port, access["clock"], access["keys"]["pos"])
        finally:
            server.terminate()
            server.wait(timeout=60)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("Bug! A process without memory.")


async def claim_all(target: Target, numbers: range) -> None:
    """Each of these claims, until it is granted: on a busy machine a 503 is no fault. Raises
    AssertionError after any other answer."""
    done = asyncio.Event()
    requests = iter(claim_requests(target, numbers))
    asked: dict[TillConnection, bytes] = {}
    left, faults = len(numbers), set[int]()

    def ask(till: TillConnection, request: bytes) -> None:
        asked[till] = request
        till.ask(request, 0.0)

    def answered(till: TillConnection, status: int) -> None:
        nonlocal left
        if status == 503:
            ask(till, asked[till])
            return
        if status not in (200, 201):
            faults.add(status)
        left -= 1
        if request := next(requests, None):
            ask(till, request)
        if not left:
            done.set()

    tills = await connect_tills(Run(requests), target.port, CONNECTIONS, answered)
    for till in tills:
        ask(till, next(requests))
    await done.wait()
    for till in tills:
        till.transport.close()
    assert not faults, f"Answers other than 201: {faults}"


def measured(checkout: Path, python: str, rest_s: float, claims: int) -> tuple[float, float]:
    """MiB at rest, and after the claims."""
    with served(checkout, python) as (server, target):
        time.sleep(rest_s)
        at_rest = resident_mib(server.pid)
        first = next(_numbers)
        for start in range(first, first + claims, CHUNK):
            uvloop.run(claim_all(target, range(start, min(start + CHUNK, first + claims))))
        if claims:
            time.sleep(rest_s)
        return at_rest, resident_mib(server.pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--against-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--claims", type=int, default=100_000)
    parser.add_argument("--rest", type=float, default=30.0, help="seconds before each reading")
    options = parser.parse_args()
    sides = {"ours": partial(measured, HERE, sys.executable)}
    if options.against:
        sides["against"] = partial(measured, options.against.resolve(), options.against_python)
    read: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, run in sides.items():
            read[side].append(run(options.rest, options.claims))
            print(f"{side}: {read[side][-1][0]:.1f} MiB, then {read[side][-1][1]:.1f}", flush=True)
    for at, when in enumerate(("at rest", f"after {options.claims:,} claims")):
        for side, values in read.items():
            mib = [value[at] for value in values]
            print(f"{when}, {side}: {statistics.median(mib):.1f} ({min(mib):.1f}–{max(mib):.1f})")
        if options.against:
            pairs = zip(read["ours"], read["against"], strict=True)
            ratios = [ours[at] / other[at] for ours, other in pairs]
            low, high = min(ratios), max(ratios)
            print(f"{when}, ratio: {statistics.median(ratios):.3f} ({low:.3f}–{high:.3f})")


if __name__ == "__main__":
    main()
