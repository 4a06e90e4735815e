"""`make recovery`: measures how fast the service notices that an engine is away, and back.

Two workers under load meet one fault after another. The result is a table. Times depend on the
machine, so none is asserted. It fails when a claim gets an answer that its fault does not allow.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from tests.faults.storm import Storm, checkout_of

TILLS = 16
SETTLE_S = 3.0
# The tills' time limit. The service answers within a second.
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is 0 if there was no answer. Times are seconds of the monotonic clock."""

    sent_at: float
    took: float
    status: int
    retry_after: bool

    @property
    def at(self) -> float:
        return self.sent_at + self.took


@dataclass
class Load:
    """Tills that sell as fast as they get answers. They retry nothing."""

    storm: Storm
    answers: list[Answer] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)
    _enough: bool = False

    async def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.storm.key}"}
        url = f"http://127.0.0.1:{self.storm.port}"
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S) as client:
            await asyncio.gather(*(self._sell(client) for _ in range(TILLS)))

    async def _sell(self, client: httpx.AsyncClient) -> None:
        while not self._enough:
            key = f"load-{next(self._numbers)}"
            sale = checkout_of(key)
            sale["items"][0]["price_fen"] = 5_000  # so that the budget is enough
            sent_at, status, retry_after = time.monotonic(), 0, False
            try:
                answer = await client.post(
                    "/v1/claims", json=sale, headers={"Idempotency-Key": key}
                )
                status, retry_after = answer.status_code, "retry-after" in answer.headers
            except httpx.HTTPError:
                pass
            took = time.monotonic() - sent_at
            self.answers.append(Answer(sent_at, took, status, retry_after))
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        self._enough = True


@dataclass(frozen=True)
class Trial:
    """A fault and its end. While it lasts a claim may get a status of `meanwhile`."""

    name: str
    begin: Callable[[Storm], object]
    end: Callable[[Storm], object]
    meanwhile: frozenset[int]
    lasts_s: float = 5.0


GRANTED, AWAY = frozenset({201}), frozenset({201, 503})


def nothing(storm: Storm) -> None:
    """For faults that end by themselves."""


def _swallow(storm: Storm, yes: bool) -> None:
    storm.ledger_proxy.swallows = yes


def _older_valkey(storm: Storm) -> None:
    storm.valkey_restarted("older")


def trials(stopped_s: float, without_gate: frozenset[int]) -> list[Trial]:
    return [
        Trial(
            "valkey stopped",
            lambda storm: storm.valkey.freeze(True),
            lambda storm: storm.valkey.freeze(False),
            without_gate,
            stopped_s,
        ),
        Trial(
            "valkey killed, restarted empty",
            lambda storm: storm.valkey.kill(),
            lambda storm: storm.valkey_restarted("none"),
            without_gate,
        ),
        Trial(
            "valkey emptied", lambda storm: storm.valkey.client.flushall(), nothing, without_gate, 0
        ),
        Trial("valkey replaced by older copy", _older_valkey, nothing, without_gate, 0),
        Trial(
            "connections to valkey cut",
            lambda storm: storm.calmly(storm.gate_proxy.cut),
            nothing,
            without_gate,
            0,
        ),
        Trial(
            "postgres killed, restarted",
            lambda storm: storm.postgres.kill(),
            lambda storm: storm.start_postgres(),
            AWAY,
        ),
        Trial(
            "postgres stopped",
            lambda storm: storm.postgres.freeze(True),
            lambda storm: storm.postgres.freeze(False),
            AWAY,
            stopped_s,
        ),
        Trial(
            "postgres out of reach",
            lambda storm: _swallow(storm, True),
            lambda storm: _swallow(storm, False),
            AWAY,
        ),
        Trial(
            "connections to postgres cut",
            lambda storm: storm.calmly(storm.ledger_proxy.cut),
            nothing,
            AWAY,
            0,
        ),
    ]


def try_out(storm: Storm, load: Load, trial: Trial) -> tuple[list[str], list[str]]:
    """(the row of the table, the answers that the fault does not allow)."""
    storm.valkey.keep_copy()
    time.sleep(1)
    began_at = time.monotonic()
    trial.begin(storm)
    struck_at = time.monotonic()
    time.sleep(trial.lasts_s)
    ready = readiness(storm) if trial.lasts_s else {}
    trial.end(storm)
    over_at = time.monotonic()
    bypassed_at = storm.in_loop(_bypassed_last(storm))
    sold = [answer for answer in load.answers if answer.at >= began_at]
    struck = [answer for answer in sold if answer.sent_at >= struck_at]
    during = Counter(answer.status for answer in struck if answer.sent_at < over_at)
    failed = [answer.at for answer in struck if answer.status == 503]
    granted_after = [a.at for a in sold if a.status == 201 and a.sent_at >= over_at]
    bad_at = max((answer.at for answer in sold if answer.status != 201), default=0.0)
    row = [
        trial.name,
        _seconds(min((answer.at for answer in struck), default=None), struck_at),
        _seconds(min(failed, default=None), struck_at),
        f"{max((answer.took for answer in sold), default=0.0):.2f}",
        _seconds(min(granted_after, default=None), over_at),
        _seconds(bad_at, over_at) if bad_at > over_at else "-",
        _seconds(bypassed_at or None, over_at),
        " ".join(f"{number}×{status}" for status, number in sorted(during.items())),
        "; ".join(ready.get("faults", [])),
    ]
    wrong = [
        f"{trial.name}: {answer.status} after {answer.took:.2f} s"
        for answer in sold
        if answer.status not in trial.meanwhile or (answer.status == 503 and not answer.retry_after)
    ]
    return row, wrong


def _seconds(at: float | None, since: float) -> str:
    return "-" if at is None else f"{at - since:.2f}"


def readiness(storm: Storm) -> dict[str, Any]:
    answer = httpx.get(f"http://127.0.0.1:{storm.port}/readyz", timeout=PATIENCE_S)
    return dict(answer.json())


async def _bypassed_last(storm: Storm) -> float:
    """When the ledger took its last claim past the gate in the next SETTLE_S; 0 if it took none."""
    connection = await asyncpg.connect(storm.database_url)
    before, changed_at = None, 0.0
    until = time.monotonic() + SETTLE_S
    while (now := time.monotonic()) < until:
        bypasses = await connection.fetchval("SELECT sum(bypasses) FROM pool")
        if before is not None and bypasses != before:
            changed_at = now
        before = bypasses
        await asyncio.sleep(0.02)
    await connection.close()
    return changed_at


HEADINGS = (
    "fault",
    "first answer",
    "first 503",
    "slowest",
    "granted again",
    "last 503",
    "gate used again",
    "answers while it lasted",
    "/readyz meanwhile",
)


def play(mode: str, stopped_s: float) -> list[str]:
    """Run all trials with a service in this gate mode; returns the wrong answers."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(Path(folder), seed=1, BUTIE_GATE_MODE=mode)
        with storm.up():
            load = Load(storm)
            selling = asyncio.run_coroutine_threadsafe(load.run(), storm.loop)
            print(f"\nwithout the gate: {mode}\n" + " | ".join(HEADINGS), flush=True)
            for trial in trials(stopped_s, GRANTED if mode == "ledger" else AWAY):
                row, wrong_answers = try_out(storm, load, trial)
                print(" | ".join(row), flush=True)
                wrong += wrong_answers
            load.stop()
            selling.result(PATIENCE_S)
            audit = storm.audit()
            events = [line for line in storm.log().splitlines() if '"gate_' in line]
            print(f"{len(events)} lines in the log about the gate; audit: {audit or 'all holds'}")
            wrong += storm.bugs() + ([audit] if audit else [])
    return wrong


def main() -> int:
    stopped_s = float(os.environ.get("STOPPED", "10"))
    print("Seconds from the beginning of the fault; for recoveries, from its end.")
    wrong = [*play("ledger", stopped_s), *play("refuse", stopped_s)]
    for line in wrong[:50]:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
