"""`python -m loadtests.bench.replay [--claims N] [--data-dir FOLDER] [--rounds N]`.

Compares `butie policy replay` over a whole seeded ledger with quoting its claims through the API,
on the same machine and in turn: quotes are asked for, with a worker for each core, and
extrapolated. The replay is of the policy that was in force: it must give the ledger's own amounts.
With --data-dir the seeded ledger (its folder `full`, as that of `bench-large`) is kept for the next
run. Writes `loadtests/results/replay.json`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import psutil

from loadtests.bench import report
from loadtests.bench.servers import Server, sandbox
from loadtests.bench.traffic import Load, Target, claim_body, closed_loop, http_post
from loadtests.seed import FIRST_DAY, seed_sandbox
from service import sandbox as sandboxes

RESULTS = Path(__file__).parents[1] / "results"
CONNECTIONS = 256
POLL_S = 0.1
QUOTES_S = 15.0
# More than two cores can answer.
QUOTES_PER_S = 9_000
_numbers = count(step=1_000_000)


@dataclass(frozen=True, slots=True)
class ReplayCost:
    """`cpu_s`: of the command's processes. `peak_mib`: their resident memory, shared pages once."""

    seconds: float
    cpu_s: float
    postgres_cpu_s: float
    peak_mib: float


def quotes(server: Server) -> float:
    """Quotes a second at full load. Raises AssertionError if one is not answered with 200."""
    first = next(_numbers)
    numbers = range(first, first + int(QUOTES_PER_S * (QUOTES_S + 1)))
    load = Load(
        lambda: quote_requests(server.target, numbers),
        closed_loop,
        server.target.port,
        CONNECTIONS,
        QUOTES_S,
    )
    load.go()
    outcome = load.wait()
    assert set(outcome.statuses) == {200}, f"Answers other than 200: {outcome.statuses}"
    return outcome.rate


def quote_requests(target: Target, numbers: range) -> list[bytes]:
    return [
        http_post(
            "/v1/quotes", target.key, f"Q{n}", json.dumps(claim_body(n, target.sold_at)).encode()
        )
        for n in numbers
    ]


def replay(folder: Path, server: Server) -> ReplayCost:
    """One replay. Raises AssertionError unless every line gets what the ledger gave it."""
    clock = sandboxes.read_clock(folder)
    assert clock is not None, "Bug! A sandbox keeps its clock."
    command = [
        *(sys.executable, "-m", "service", "policy", "replay", "nanhu-2025.yaml"),
        *("--from", str(FIRST_DAY), "--to", f"{clock.started_at:%Y-%m-%d}"),
    ]
    before = server.cpu_seconds()["postgres"]
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = psutil.Popen(
            command,
            env=os.environ | {"BUTIE_DATA_DIR": str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        peak, cpu = 0, 0.0
        while process.poll() is None:
            resident, spent = _usage(process)
            peak, cpu = max(peak, resident), max(cpu, spent)
            time.sleep(POLL_S)
        seconds = time.monotonic() - began
        log.seek(0)
        output = log.read().decode()
    assert process.wait() == 0, output
    assert "0 lines get more, 0 less," in output, output
    postgres = server.cpu_seconds()["postgres"] - before
    return ReplayCost(seconds, cpu, postgres, peak / 2**20)


def _usage(process: psutil.Process) -> tuple[int, float]:
    """(resident bytes, CPU seconds) of a process and its children."""
    resident, spent = 0, 0.0
    try:
        for member in [process, *process.children(recursive=True)]:
            resident += member.memory_full_info().pss
            times = member.cpu_times()
            spent += times.user + times.system
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass
    return resident, spent


def measure(folder: Path, claims: int, options: argparse.Namespace) -> None:
    replays: list[ReplayCost] = []
    rates: list[float] = []
    # Slow quotes are answered as well: a 503 would hide how slow they are.
    patient = {"BUTIE_ANSWER_WITHIN_MS": "10000"}
    with sandbox(folder, workers=os.cpu_count() or 1, **patient) as server:
        for _ in range(options.rounds):
            rates.append(quotes(server))
            replays.append(replay(folder, server))
    through_api_s = claims / statistics.median(rates)
    seconds = [cost.seconds for cost in replays]
    of_it = statistics.median(seconds) / through_api_s
    report.console.print(
        f"quotes through the API, {CONNECTIONS} connections: {_spread(rates, ',.0f')} a second; "
        f"{claims:,} in {through_api_s:,.0f} s"
    )
    report.console.print(
        f"replay of {claims:,} claims: {_spread(seconds, ',.1f')} s, "
        f"{of_it:.3f} of the quotes (bar 0.1); "
        f"CPU a claim: {_spread([cost.cpu_s / claims * 1e6 for cost in replays], '.1f')} µs, "
        f"PostgreSQL {_spread([cost.postgres_cpu_s / claims * 1e6 for cost in replays], '.1f')} "
        f"µs; at most {max(cost.peak_mib for cost in replays):,.0f} MiB (bar 512)"
    )
    RESULTS.mkdir(exist_ok=True)
    figures = {"claims": claims, "quotes_a_s": rates, "replays": [asdict(cost) for cost in replays]}
    (RESULTS / "replay.json").write_text(json.dumps(figures, indent=1))


def _spread(values: list[float], form: str) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data-dir", type=Path, help="keep the seeded ledger there, or reuse it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="butie-bench-") as folder:
        full = (options.data_dir or Path(folder)) / "full"
        if not full.exists():
            seed_sandbox(full, options.claims)
        measure(full, options.claims, options)


if __name__ == "__main__":
    main()
