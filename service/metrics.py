"""Every metric of the service, declared in this one place; `deploy/metrics.md` lists them.

Labels are bounded: outcomes, reason codes, pools, categories, towns and route templates, never an
id or a key. Metrics of the ledger are read from it at each scrape (`AtScrape`), so every worker and
host shows the same, also after a restart. Each worker counts the rest. The gauges' modes drop the
values of workers that have ended."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram, multiprocess

# A claim takes milliseconds; a till gives up after some seconds. Up to 10 ms is normal. A cashier
# notices 100 ms. From 1 s on tills retry. Each target of `SLOS` is a bucket's edge, because a
# histogram gives the exact share only there.
LATENCY_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
# A call to Redis takes a fraction of a millisecond and is given up after 250 ms.
GATE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
# A commit waits for a disk. A till waits 800 ms; after 2 s the commit is cut off and fenced.
LEDGER_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Slo:
    """A promise to the tills: this share of a route's answers comes within `within_s` seconds."""

    method: str
    route: str
    within_s: float
    goal_ratio: float


# A customer waits for a claim: no one notices a quarter of a second while the card terminal works.
# Refunds queue. A batch is up to 500 claims, and no customer waits for it.
SLOS = (
    Slo("POST", "/v1/claims", 0.25, 0.99),
    Slo("POST", "/v1/quotes", 0.25, 0.99),
    Slo("POST", "/v1/claims/{claim_id}/confirm", 0.25, 0.99),
    Slo("POST", "/v1/claims/{claim_id}/refunds", 0.5, 0.99),
    Slo("POST", "/v1/claims/batch", 2.5, 0.99),
)
assert all(slo.within_s in LATENCY_BUCKETS_S for slo in SLOS)
# The share of requests to /v1 without a 5xx. A till retries after a 503. The tills' own networks
# lose about one request in a thousand.
AVAILABILITY_GOAL_RATIO = 0.999

# --- counted by each worker -------------------------------------------------------------

requests = Histogram(
    "butie_http_request_seconds",
    "Time from the request's head to the end of the answer",
    ["method", "route", "status"],
    buckets=LATENCY_BUCKETS_S,
)
claims = Counter(
    "butie_claims_total",
    "Claims asked for, by outcome",
    ["outcome"],  # granted, replayed, refused, keyreused
)
claim_lines = Counter(
    "butie_claim_lines_total",
    "Lines of claims decided, by outcome; no_money: refused for an empty pool",
    ["scheme", "category", "outcome"],  # granted, held, refused, no_money
)
claim_lines_fen = Counter(
    "butie_claim_lines_fen_total",
    "Subsidy of the lines granted or held, in fen",
    ["scheme", "category", "outcome"],  # granted, held
)
refusals = Counter("butie_refusals_total", "Refused claims, by each of their reasons", ["code"])
holds_ended = Counter(
    "butie_holds_ended_total",
    "Holds that ended, by how",
    ["how"],  # confirmed, cancelled, expired
)
refunds = Counter("butie_refunds_total", "Refunds made")
exports = Counter(
    "butie_exports_total",
    "Journal exports, by how they ended",
    ["format", "outcome"],  # whole, left (by the client), failed
)
rate_limited = Counter("butie_rate_limited_total", "Requests refused for their key's rate")
rate_uncounted = Counter(
    "butie_rate_uncounted_total", "Requests that passed because Redis could not count them"
)

gate_seconds = Histogram(
    "butie_gate_seconds",
    "Time of one call to the gate, which carries many claims",
    ["call"],  # admit, settle, forget, look
    buckets=GATE_BUCKETS_S,
)
gate_batch_size = Histogram(
    "butie_gate_batch_claims", "Claims that shared one call to the gate", buckets=BATCH_BUCKETS
)
gate_bypassed = Counter(
    "butie_gate_bypassed_total", "Claims decided without the gate, because it was away or empty"
)
gate_up = Gauge(
    "butie_gate_up", "1 while the gate answers every worker", multiprocess_mode="livemin"
)
gate_mode = Gauge(
    "butie_gate_mode",
    "1 for the mode of a worker: guarding (gate and ledger), bypassed (ledger alone), refusing",
    ["mode"],
    multiprocess_mode="livemax",
)
gate_drift_fen = Gauge(
    "butie_gate_drift_fen",
    "Gate balance minus ledger balance in fen, for pools whose rows the gate has at their current "
    "version; set only while no admission is in flight",
    ["pool"],
    multiprocess_mode="livemostrecent",
)
admissions_in_flight = Gauge(
    "butie_admissions_in_flight",
    "Claims between the gate's yes and the ledger's",
    multiprocess_mode="livemostrecent",
)
admissions_overdue = Gauge(
    "butie_admissions_overdue",
    "Admissions past their deadline that the sweeper has yet to resolve",
    multiprocess_mode="livemostrecent",
)
admissions_released = Counter(
    "butie_admissions_released_total", "Overdue admissions that the sweeper resolved", ["fate"]
)

ledger_seconds = Histogram(
    "butie_ledger_seconds",
    "Time of one call to the ledger, which carries many claims, until it is durable",
    ["call"],  # commit, finish, refund, standing, keys
    buckets=LEDGER_BUCKETS_S,
)
ledger_batch_size = Histogram(
    "butie_ledger_batch_claims", "Claims that shared one commit", buckets=BATCH_BUCKETS
)
queue_items = Gauge(
    "butie_queue_items",
    "Items that wait for the next batch, all workers together, sampled once a second",
    ["queue"],
    multiprocess_mode="livesum",
)


# Every worker sets it from the same figures, so the most recent one is as good as any.
forecast_exhausted = Gauge(
    "butie_forecast_exhausted_timestamp_seconds",
    "The day on which the pool is first empty, as its first moment by the business clock: with "
    "10, 50 and 90 % probability not later. +Inf: not before the policy's end; NaN: too early "
    "to tell, or no policy",
    ["pool", "quantile"],  # 0.1, 0.5, 0.9
    multiprocess_mode="livemostrecent",
)
forecast_daily_fen = Gauge(
    "butie_forecast_daily_fen",
    "The usual burn of a day on which the forecast builds, in fen; 0 without a history",
    ["pool"],
    multiprocess_mode="livemostrecent",
)


# Start at 0: `increase` does not count the first sample of a series.
for _how in ("confirmed", "cancelled", "expired"):
    holds_ended.labels(_how)
for _fate in ("committed", "given_up"):
    admissions_released.labels(_fate)
for _format in ("csv", "ndjson", "parquet", "xlsx"):
    for _outcome in ("whole", "left", "failed"):
        exports.labels(_format, _outcome)


@cache
def _request_seconds(method: str, route: str, status: int) -> Histogram:
    return requests.labels(method, route, status)


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request. The cache is faster than prometheus-client's look-up by labels."""
    _request_seconds(method, route, status).observe(seconds)


# --- read or computed at each scrape --------------------------------------------------


@dataclass(frozen=True, slots=True)
class AtScrape:
    """A metric that is computed at each scrape."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


ledger_up = AtScrape("butie_ledger_up", "1 if PostgreSQL answered this scrape")
pool_fen = AtScrape(
    "butie_pool_fen",
    "A pool as the ledger has it, in fen",
    ("pool", "part"),  # allocated, confirmed, reserved, remaining
)
journal_entries = AtScrape(
    "butie_journal_entries_total",
    "Grants and refunds booked since the first day",
    ("kind", "pool", "category"),
    "counter",
)
journal_fen = AtScrape(
    "butie_journal_fen_total",
    "Their amounts, in fen; a refund's is positive too",
    ("kind", "pool", "category"),
    "counter",
)
town_fen = AtScrape(
    "butie_town_fen_total",
    "The same by the store's town; the 50 largest, the others together",
    ("kind", "town"),
    "counter",
)
journal_unsummed = AtScrape(
    "butie_journal_unsummed_entries",
    "Journal entries that the sums above do not have yet",
)
day_fen = AtScrape(
    "butie_day_fen",
    "What is booked on a business day, in fen, exactly",
    ("day", "kind", "pool"),  # today, yesterday; grant, refund
)
sales_fen = AtScrape(
    "butie_sales_fen_total",
    "What the granted lines were sold for, in fen; a refunded line's price is positive too",
    ("kind", "pool", "category"),
    "counter",
)
town_sales_fen = AtScrape(
    "butie_town_sales_fen_total",
    "The same by the store's town; the 50 largest, the others together",
    ("kind", "town"),
    "counter",
)
day_sales_fen = AtScrape(
    "butie_day_sales_fen",
    "The same of a business day, exactly",
    ("day", "kind", "pool"),  # today, yesterday; grant, refund
)
sales_unsummed = AtScrape(
    "butie_sales_unsummed_entries",
    "Journal entries that the sums of sales do not have yet",
)
holds = AtScrape("butie_holds", "Holds that have not ended")
uninvoiced_claims = AtScrape(
    "butie_uninvoiced_claims",
    "Confirmed claims without an invoice, by the age of their grant",
    ("age",),  # week, month, older
)
uninvoiced_fen = AtScrape("butie_uninvoiced_fen", "Their subsidy less refunds, in fen", ("age",))
tranche_fen = AtScrape("butie_tranche_fen", "Planned tranches, in fen", ("pool",))
tranche_next = AtScrape(
    "butie_tranche_next_timestamp_seconds",
    "When the next planned tranche opens, by the business clock",
    ("pool",),
)
audit_breaches = AtScrape(
    "butie_audit_breaches", "Breaches that the newest audit found", ("invariant",)
)
audit_finished = AtScrape(
    "butie_audit_finished_timestamp_seconds",
    "When the newest audit ended, by the business clock",
)
audit_full_finished = AtScrape(
    "butie_audit_full_finished_timestamp_seconds",
    "When the newest audit ended that looked at everything, by the business clock",
)
business_time = AtScrape(
    "butie_business_time_seconds",
    "The business clock: the real time but in a sandbox. Compare other instants with this",
)
year_elapsed = AtScrape(
    "butie_year_elapsed_ratio", "How much of the calendar year is over, by the business clock"
)
slo_within = AtScrape(
    "butie_slo_latency_seconds",
    "Target: the goal ratio of this route's answers comes within this time",
    ("method", "route"),
)
slo_latency_goal = AtScrape(
    "butie_slo_latency_goal_ratio", "Target: this share comes in time", ("method", "route")
)
slo_availability_goal = AtScrape(
    "butie_slo_availability_goal_ratio", "Target: this share of all answers is no 5xx"
)


def forget_dead_workers() -> None:
    """Drop the live gauges of workers that have ended; their counters stay."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return
    for pid in {int(path.stem.rpartition("_")[2]) for path in Path(folder).glob("gauge_live*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
        except PermissionError:
            pass  # the pid is another user's process by now; the file goes with the next start
