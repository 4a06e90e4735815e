"""The scenarios: their users, the faults that are injected, and the conditions that must hold."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from loadtests.bench.servers import Server
from service import sandbox
from service.core.calendar import SHANGHAI

ORDINARY_TILLS = 30  # a sale a second each
OPENING_TILLS = 20 * ORDINARY_TILLS
LARGEST_SUBSIDY_FEN = 200_000
# When the service stops answering and for how long, as shares of a scenario's time.
OUTAGE_FROM, OUTAGE_FOR = 0.25, 0.2
# Longer than a till waits for an answer.
OUTAGE_S_MIN = 5.0
TILLS_START_S = 60
# When the tranche opens, as a share of a scenario's time. Until then tills are refused.
OPENS_AT = 0.25


@dataclass(slots=True)
class Stage:
    """A sandbox that a scenario plays on. `outcome` has the answers, as `loadtests.tills` writes
    them at the end."""

    folder: Path
    server: Server
    access: dict[str, Any]  # sandbox.json
    seconds: float
    users: float  # 1: as many as the scenario says
    outage: tuple[float, float] | None = None
    outcome: dict[str, Any] = field(default_factory=dict)

    @property
    def begun(self) -> Path:
        """A file that exists once the tills have begun."""
        return self.folder / "tills-have-begun"

    def wait_for_tills(self) -> None:
        until = time.monotonic() + TILLS_START_S
        while not self.begun.exists() and time.monotonic() < until:
            time.sleep(0.05)

    def business_time(self, seconds: float = 0) -> str:
        """The business time in so many seconds, in RFC 3339."""
        clock = sandbox.read_clock(self.folder)
        assert clock is not None, "Bug! A sandbox keeps its clock."
        instant = sandbox.real_now() + clock.offset + timedelta(seconds=seconds)
        return instant.astimezone(SHANGHAI).isoformat(timespec="milliseconds")

    def api(self, role: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.access["base_url"],
            headers={"Authorization": f"Bearer {self.access['keys'][role]}"},
            timeout=10,
        )


Wave = Sequence[tuple[float, float]]  # (until which share of the time, share of the users)
EVENLY: Wave = ((1.0, 1.0),)


@dataclass(frozen=True, slots=True)
class Scenario:
    """`p99_ms` has the limits, by the name of an answer in the statistics. `meanwhile` runs while
    the tills sell; `checks` returns faults at the end."""

    description: str
    users: tuple[str, ...]  # classes of loadtests.tills
    tills: int
    seconds: float
    p99_ms: dict[str, float]
    wave: Wave = EVENLY
    days: int = 1
    prepare: Callable[[Stage], None] = lambda _: None
    meanwhile: Callable[[Stage], None] = lambda _: None
    checks: Callable[[Stage], list[str]] = lambda _: []


# --- the opening minute -----------------------------------------------------------------


def plan_tranche(stage: Stage) -> None:
    """Empty the pool of appliances, and plan a tranche for a tenth of the sales after it opens."""
    opens_in = stage.seconds * OPENS_AT
    sales = OPENING_TILLS * stage.users * (stage.seconds - opens_in)
    with stage.api("admin") as admin:
        left = admin.get("/v1/budgets/appliances").json()["remaining_fen"]
        taken = admin.post(
            "/v1/budgets/appliances/adjustments",
            headers={"Idempotency-Key": "opening"},
            json={"delta_fen": -left, "reason": "first half spent", "document_no": "SCENARIO-1"},
        )
        planned = admin.post(
            "/v1/budgets/appliances/tranches",
            json={
                "opens_at": stage.business_time(opens_in),
                "amount_fen": max(int(sales / 10 * 60_000), 5 * LARGEST_SUBSIDY_FEN),
                "document_no": "SCENARIO-2",
            },
        )
    assert taken.status_code == planned.status_code == 201, (taken.text, planned.text)


def spent_to_the_end(stage: Stage) -> list[str]:
    """Checks that the tranche is spent, and that the other tills were refused for want of money."""
    with stage.api("bureau") as bureau:
        left = bureau.get("/v1/budgets/appliances").json()["remaining_fen"]
    faults = []
    if not 0 <= left < LARGEST_SUBSIDY_FEN:
        faults.append(f"{left} fen of the tranche are left")
    answers = stage.outcome["answers"]
    refused = answers.get("budget_exhausted", 0)
    if refused < 0.6 * sum(answers.values()):
        faults.append(f"only {refused} of {sum(answers.values())} were refused for want of money")
    return faults


# --- the outage -------------------------------------------------------------------------


def stop_answering(stage: Stage) -> None:
    """Suspend the service, as on a machine that hangs: connections stay open, nothing answers."""
    stage.wait_for_tills()
    time.sleep(stage.seconds * OUTAGE_FROM)
    began = time.time()
    stage.server.process.suspend()
    try:
        time.sleep(max(stage.seconds * OUTAGE_FOR, OUTAGE_S_MIN))
    finally:
        stage.server.process.resume()
    stage.outage = (began, time.time())


def all_answered(stage: Stage) -> list[str]:
    """Checks that every begun sale got an answer, and that answers were lost only in the outage."""
    sales, lost = stage.outcome["sales"], stage.outcome["lost_at"]
    faults = []
    if sales["begun"] != sales["answered"]:
        faults.append(f"{sales['begun']} sales were begun and {sales['answered']} answered")
    assert stage.outage is not None, "Bug! There was no outage."
    # A till's time limit before the outage; after it, that and its longest pause.
    late = [at for at in lost if not stage.outage[0] - 3 <= at <= stage.outage[1] + 8]
    if late:
        faults.append(f"{len(late)} answers were lost well before or after the outage")
    if not lost:
        faults.append("no answer was lost: there was no outage")
    return faults


SCENARIOS = {
    "day": Scenario(
        "an ordinary day: 30 tills, a sale a second each, quotes, holds, refunds, invoices, "
        "the bureau and finance looking in",
        ("Till", "Bureau", "Finance"),
        ORDINARY_TILLS,
        60,
        {"claim, granted": 100, "quote": 100, "journal, csv": 500},
        wave=((0.2, 0.4), (0.5, 1.0), (0.6, 0.6), (0.9, 1.0), (1.0, 0.3)),
    ),
    "opening": Scenario(
        "the minute in which a new tranche opens: 20 times as many tills, most of them refused",
        ("OpeningTill", "Bureau"),
        OPENING_TILLS,
        60,
        {"claim, granted": 500, "claim, refused": 500},
        prepare=plan_tranche,
        checks=spent_to_the_end,
    ),
    "gateway": Scenario(
        "a chain's gateway sends what 500 shops have sold, 100 claims a request",
        ("Gateway",),
        8,
        60,
        {"batch": 1_000},
    ),
    "storm": Scenario(
        "an outage in which every till keeps asking, and the storm of retries after it",
        ("RetryingTill",),
        4 * ORDINARY_TILLS,
        60,
        {"claim, granted": 2_000},
        meanwhile=stop_answering,
        checks=all_answered,
    ),
    "week": Scenario(
        "a week's soak, a day in half a minute; each night a restart, and the day closes",
        ("Till", "Bureau", "Finance"),
        ORDINARY_TILLS,
        30,
        {"claim, granted": 200, "quote": 200},
        wave=((0.2, 0.3), (0.4, 1.0), (0.6, 0.5), (0.9, 1.0), (1.0, 0.2)),
        days=7,
    ),
}
