"""Every metric of the service, declared in this one place.

Labels are bounded: outcomes, reason codes, pools and route templates, never an id or a key.
"""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

# A claim takes milliseconds; a till gives up after some seconds. The steps in between tell
# "as ever" (up to 10 ms) from "felt at the till" (100 ms) from "being retried" (1 s on).
LATENCY_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

requests = Histogram(
    "butie_http_request_seconds",
    "Time from the request's head to the end of the answer",
    ["route", "status"],
    buckets=LATENCY_BUCKETS_S,
)
claims = Counter(
    "butie_claims_total",
    "Claims asked for, by what became of them",
    ["outcome"],  # granted, replayed, refused, key_reused
)
subsidy_fen = Counter("butie_granted_fen_total", "Subsidy granted or reserved, in fen", ["pool"])
refusals = Counter("butie_refusals_total", "Reasons of refused claims", ["code"])
gate_batch_size = Histogram(
    "butie_gate_batch_claims", "Claims that shared one call to the gate", buckets=BATCH_BUCKETS
)
ledger_batch_size = Histogram(
    "butie_ledger_batch_claims", "Claims that shared one commit", buckets=BATCH_BUCKETS
)
gate_bypassed = Counter(
    "butie_gate_bypassed_total", "Claims decided without the gate, because it was away or empty"
)
gate_up = Gauge(
    "butie_gate_up", "1 while the gate answers this worker", multiprocess_mode="livemin"
)
admissions_released = Counter(
    "butie_admissions_released_total", "Overdue admissions that the sweeper resolved", ["fate"]
)
admissions_in_flight = Gauge(
    "butie_admissions_in_flight",
    "Claims between the gate's yes and the ledger's",
    multiprocess_mode="mostrecent",
)
admissions_overdue = Gauge(
    "butie_admissions_overdue",
    "Admissions past their deadline that the sweeper has yet to resolve",
    multiprocess_mode="mostrecent",
)
holds_ended = Counter(
    "butie_holds_ended_total",
    "Holds that ended, by how",
    ["how"],  # confirmed, cancelled, expired
)
rate_limited = Counter("butie_rate_limited_total", "Requests refused for their key's rate")
rate_uncounted = Counter(
    "butie_rate_uncounted_total", "Requests that passed because Redis could not count them"
)
audit_breaches = Gauge(
    "butie_audit_breaches",
    "Breaches that the newest audit found",
    ["invariant"],
    multiprocess_mode="mostrecent",
)
audit_finished = Gauge(
    "butie_audit_finished_timestamp_seconds",
    "When the newest audit ended, by the business clock",
    multiprocess_mode="mostrecent",
)
refunds = Counter("butie_refunds_total", "Refunds made")
# Read from the ledger, the same for every worker: the newest reading counts, never a sum.
pool_fen = Gauge(
    "butie_pool_fen",
    "A pool as the ledger has it, in fen",
    ["pool", "part"],  # allocated, spent, remaining
    multiprocess_mode="mostrecent",
)


_observe: dict[tuple[str, int], Callable[[float], None]] = {}


def observe_request(route: str, status: int, seconds: float) -> None:
    """Count a request. prometheus-client's look-up by labels costs more than the counting."""
    observe = _observe.get((route, status))
    if observe is None:
        observe = _observe[route, status] = requests.labels(route, status).observe
    observe(seconds)


# Set by every worker from the same reading of the ledger; which was last does not matter.
forecast_exhausted = Gauge(
    "butie_forecast_exhausted_timestamp_seconds",
    "The day on which the pool is first empty, as its first moment by the business clock: with "
    "10, 50 and 90 % probability not later. +Inf: not before the policy's end; NaN: too early "
    "to tell, or no policy",
    ["pool", "quantile"],  # 0.1, 0.5, 0.9
    multiprocess_mode="mostrecent",
)
forecast_daily_fen = Gauge(
    "butie_forecast_daily_fen",
    "The usual burn of a day on which the forecast builds, in fen; 0 without a history",
    ["pool"],
    multiprocess_mode="mostrecent",
)
