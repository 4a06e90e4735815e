"""`make bench`, or `python -m loadtests.bench [--only NAME …] [--rounds N] [--seconds S]`.

Starts all servers on this machine, runs the two sides of each row in turn, and writes
`loadtests/results/bench.json` and `loadtests/results/latency.svg`. Read ratios, not rates: the load
comes from the same cores, and machines are noisy. Nothing else should run at the same time.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from loadtests.bench import commits, exports, inside, over_http, report
from loadtests.bench.contest import Row

RESULTS = Path(__file__).parents[1] / "results"
OFFERED = (250, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500)

ROWS: dict[str, Callable[..., Row]] = {
    "one_worker": over_http.one_worker,
    "one_worker_64": partial(over_http.one_worker, connections=64),
    "two_workers": over_http.two_workers,
    "refusals": over_http.refusals,
    "batches": over_http.batches,
    "without_http": inside.without_http,
    "one_at_a_time": inside.one_at_a_time,
    "commit_64": partial(commits.commits, size=64),
    "commit_1": partial(commits.commits, size=1),
    "hostile": over_http.hostile,
    "refill": over_http.refill,
    "exports": exports.csv_export,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=[*ROWS, "writers", "offered"], default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    rows: list[Row] = []
    more: dict[str, Any] = {}
    for name, run in ROWS.items():
        if options.only is None or name in options.only:
            row = partial(run, rounds=options.rounds, seconds=options.seconds)
            rows.append(_in_folder(name, row))
    if options.only is None or "writers" in options.only:
        more["writers"] = _in_folder("writers", lambda at: inside.writers(at, options.seconds))
    if options.only is None or "offered" in options.only:
        more["offered"] = _in_folder(
            "offered", lambda at: over_http.offered(at, OFFERED, options.seconds)
        )
        report.plot(RESULTS / "latency.svg", more["offered"])
    if rows:
        report.show(rows)
    if "writers" in more:
        report.show_writers(more["writers"])
    report.write_json(RESULTS / "bench.json", rows, more)


def _in_folder(name: str, run: Callable[[Path], Any]) -> Any:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="butie-bench-") as folder:
        result = run(Path(folder) / name)
    report.console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")
    return result


if __name__ == "__main__":
    main()
