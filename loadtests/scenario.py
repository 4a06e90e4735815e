"""Plays a scenario against a sandbox of its own: `python -m loadtests.scenario NAME`, or all.

Starts the sandbox, runs Locust headless, audits the books at the end, and compares the tills'
answers with the ledger. Exits with 0 when the scenario's acceptance line was met, else with 1 after
printing what was wrong. Writes `loadtests/results/NAME.html` and `NAME.json`.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

from loadtests.bench import servers
from loadtests.scenarios import SCENARIOS, Scenario, Stage
from service import sandbox
from service.embedded import postgres

RESULTS = Path(__file__).parent / "results"
# Time for tills that still wait for an answer.
STOP_S = 60
# The memory at the last day's end, relative to the first day's end.
MEMORY_GROWS_MAX = 1.25
QUICK_SECONDS, QUICK_USERS = 15.0, 0.1

console = Console(width=130, highlight=False)


def play(name: str, *, seconds: float | None = None, quick: bool = False) -> list[str]:
    """Play it; returns the faults. `quick`: a tenth of the tills, a few seconds, and no limit on
    times; it shows that the scenario still works."""
    scenario = SCENARIOS[name]
    seconds = QUICK_SECONDS if quick else seconds or scenario.seconds
    settings = {"BUTIE_ANSWER_WITHIN_MS": "30000"} if quick else {}
    faults: list[str] = []
    resident: list[float] = []
    RESULTS.mkdir(exist_ok=True)
    console.print(f"[bold]{name}[/bold]: {scenario.description}")
    with tempfile.TemporaryDirectory(prefix="butie-scenario-") as at:
        folder = Path(at) / "data"
        for day in range(2 if quick and scenario.days > 1 else scenario.days):
            clock = (sandbox.STARTS_AT + timedelta(days=day)).isoformat()
            with servers.sandbox(folder, BUTIE_CLOCK=clock, **settings) as server:
                access = json.loads((folder / "sandbox.json").read_text())
                users = QUICK_USERS if quick else 1.0
                stage = Stage(folder, server, access, seconds, users)
                report = name if scenario.days == 1 else f"{name}-{day + 1}"
                _play_day(scenario, stage, report, quick=quick)
                resident.append(server.process.memory_info().rss / 2**20)
                faults += _faults(scenario, stage, with_times=not quick)
                time.sleep(1)  # claims in flight end; the day before closes
                faults += _checked(folder, "audit", shown=True)
                faults += _checked(folder, "journal", "verify")
    faults += _memory(resident)
    for fault in faults:
        console.print(f"  [red]not accepted[/red]: {fault}")
    if not faults:
        console.print(f"  accepted: {_line(scenario)}")
    return faults


def _play_day(scenario: Scenario, stage: Stage, name: str, *, quick: bool) -> None:
    scenario.prepare(stage)
    stage.begun.unlink(missing_ok=True)
    tills = max(scenario.tills * stage.users, 2)
    others = len(scenario.users) - 1  # one of each; Locust counts them with the tills
    plan = {
        **{key: stage.access[key] for key in ("keys", "store_id")},
        "clock": stage.business_time(),
        "real": time.time(),
        "seed": time.time_ns() // 1_000_000 % 100,
        # A machine that is busy with other tests may be slow; that is no fault.
        "excused": [503] if quick else [],
        "begun": str(stage.begun),
        "outcome": str(stage.folder / "outcome.json"),
        "stages": [
            [until * stage.seconds, max(round(share * tills), 1) + others, max(tills / 2, 10)]
            for until, share in scenario.wave
        ],
    }
    command = [
        *(sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("tills.py"))),
        *("--headless", "--only-summary", "--loglevel", "WARNING", "--stop-timeout", str(STOP_S)),
        *("--host", stage.access["base_url"], "--html", str(RESULTS / f"{name}.html")),
        *scenario.users,
    ]
    log = (stage.folder / "locust.log").open("w")
    process = subprocess.Popen(
        command,
        env=os.environ | {"BUTIE_SCENARIO": json.dumps(plan)},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        disturbance = threading.Thread(target=scenario.meanwhile, args=(stage,))
        disturbance.start()
        disturbance.join()
        process.wait(stage.seconds + STOP_S + 120)
    finally:
        if process.poll() is None:
            process.kill()
        log.close()
    if not Path(plan["outcome"]).exists():
        raise RuntimeError(f"Locust failed: {Path(log.name).read_text()[-2000:]}")
    stage.outcome = json.loads(Path(plan["outcome"]).read_text())
    _show(stage, name)


# --- what must hold ---------------------------------------------------------------------


def _line(scenario: Scenario) -> str:
    times = ", ".join(f"{name} p99 ≤ {bar:g} ms" for name, bar in scenario.p99_ms.items())
    return f"no error; {times}; every invariant held, every answer is in the ledger"


def _faults(scenario: Scenario, stage: Stage, *, with_times: bool) -> list[str]:
    faults = [f"an error: {error}" for error in stage.outcome["errors"]]
    times = {entry["name"]: entry["p99_ms"] for entry in stage.outcome["stats"]}
    for name, bar_ms in scenario.p99_ms.items():
        if name not in times:
            faults.append(f"there was no {name}")
        elif with_times and times[name] > bar_ms:
            faults.append(f"{name}: p99 is {times[name]:.0f} ms, over the limit of {bar_ms:g} ms")
    faults += scenario.checks(stage)
    return faults + asyncio.run(_unlike_the_ledger(stage))


async def _unlike_the_ledger(stage: Stage) -> list[str]:
    """Claims that were answered to a till and that the ledger lacks, or has with another amount."""
    connection = await asyncpg.connect(postgres.running_url(stage.folder))
    granted = stage.outcome["granted"]
    rows = await connection.fetch(
        "SELECT claim_id::text, subsidy_fen FROM claim WHERE claim_id = ANY ($1::uuid[])",
        list(granted),
    )
    await connection.close()
    subsidies = {row["claim_id"]: row["subsidy_fen"] for row in rows}
    return [
        f"a till got {claim_id} with {fen} fen; the ledger has {subsidies.get(claim_id)}"
        for claim_id, fen in granted.items()
        if subsidies.get(claim_id) != fen
    ]


def _checked(folder: Path, *command: str, shown: bool = False) -> list[str]:
    """The faults that a `butie` command finds in the ledger; `shown`: print its output."""
    done = subprocess.run(
        [sys.executable, "-m", "service", *command],
        env=os.environ | {"BUTIE_DATA_DIR": str(folder), "COLUMNS": "100"},
        capture_output=True,
        text=True,
    )
    if shown:
        console.print(done.stdout, markup=False)
    if done.returncode:
        return [f"butie {' '.join(command)}: {done.stdout[-500:]}{done.stderr[-500:]}"]
    return []


def _memory(resident: list[float]) -> list[str]:
    if len(resident) > 1:
        days = " ".join(f"{mib:.0f}" for mib in resident)
        console.print(f"  the service's memory at each day's end, MiB: {days}")
        if resident[-1] > resident[0] * MEMORY_GROWS_MAX:
            return [f"the service's memory grew from day to day: {days} MiB"]
    return []


# --- the results ------------------------------------------------------------------------


def _show(stage: Stage, name: str) -> None:
    table = Table("request", "count", "errors", "a second", "p50 ms", "p99 ms", "most ms")
    for entry in sorted(stage.outcome["stats"], key=lambda entry: -entry["requests"]):
        table.add_row(
            entry["name"],
            f"{entry['requests']:,}",
            f"{entry['failures']:,}",
            f"{entry['per_s']:.1f}",
            *(f"{entry[key]:.0f}" for key in ("p50_ms", "p99_ms", "max_ms")),
        )
    console.print(table)
    answers = ", ".join(f"{count:,} {what}" for what, count in stage.outcome["answers"].items())
    console.print(f"  answers to the tills: {answers}")
    results: dict[str, Any] = {
        key: stage.outcome[key] for key in ("stats", "errors", "answers", "sales")
    } | {"seconds": stage.seconds, "machine": {"cores": psutil.cpu_count()}}
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1, ensure_ascii=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*SCENARIOS, "all"])
    parser.add_argument("--seconds", type=float, help="length of each day; default: the scenario's")
    parser.add_argument(
        "--quick", action="store_true", help="few tills, a few seconds, no limit on times"
    )
    options = parser.parse_args()
    names = list(SCENARIOS) if options.name == "all" else [options.name]
    faults = [
        fault
        for name in names
        for fault in play(name, seconds=options.seconds, quick=options.quick)
    ]
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
