"""The users of the scenarios, for Locust. `loadtests.scenario` starts it with a plan.

At the end the answers are written to a file, and the runner compares them with the ledger.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import gevent
from locust import FastHttpUser, LoadTestShape, between, constant_throughput, events, task
from locust.env import Environment

from loadtests.goods import APPLIANCES
from loadtests.people import Customers

PLAN = json.loads(os.environ["BUTIE_SCENARIO"])
STORE_ID = PLAN["store_id"]
CUSTOMERS = Customers(PLAN["seed"])
BATCH = 100
# A till waits this long for an answer, then retries with the same key.
PATIENCE_S = 2.0
RETRY_S = (0.2, 1.0)
# After this share of the time such a till begins no new sale.
LAST_SALE_AT = 0.75

granted: dict[str, int] = {}  # subsidy in fen, by claim id
answers: Counter[str] = Counter()
lost_at: list[float] = []
sales = {"begun": 0, "answered": 0}


def now() -> datetime:
    """The sandbox's business clock."""
    return datetime.fromisoformat(PLAN["clock"]) + timedelta(seconds=time.time() - PLAN["real"])


class Caller(FastHttpUser):
    """A user of the API. An answer with an unexpected status is an error."""

    abstract = True
    role = "pos"
    network_timeout = connection_timeout = 10.0

    def ask(
        self,
        method: str,
        path: str,
        name: str,
        *expected: int,
        body: Any = None,
        key: str | None = None,
        named: Callable[[int, Any], str] | None = None,
    ) -> tuple[int, Any]:
        """(status, body) of the answer; status 0 if there was none. `named` gives the name of an
        answer in the statistics."""
        headers = {"Authorization": f"Bearer {PLAN['keys'][self.role]}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        with self.client.request(
            method, path, name=name, json=body, headers=headers, catch_response=True
        ) as response:
            status = response.status_code
            is_json = "json" in (response.headers or {}).get("content-type", "")
            answer = response.json() if status and is_json else {}
            if named is not None:
                response.request_meta["name"] = named(status, answer)
            if status in (*expected, *PLAN["excused"]):
                response.success()
            else:
                response.failure(f"{status} {answer.get('code', '')}")
        return status, answer


class Shop(Caller):
    """A seller."""

    abstract = True
    wait_time = constant_throughput(1)

    def on_start(self) -> None:
        self.claims: list[dict[str, Any]] = []

    def sell(self, *kinds: Any, hold: bool = False) -> dict[str, Any] | None:
        """Sell, and claim for the sale. Returns the claim with its sale; None if it was refused."""
        sale = CUSTOMERS.sale(STORE_ID, now(), kinds)
        status, claim = self.ask(
            "POST",
            "/v1/claims",
            "claim",
            *(201, 409),
            body=sale | {"hold": hold},
            key=sale["order_no"],
            named=_granted_or_refused,
        )
        note(status, claim)
        if status != 201:
            return None
        if not hold:
            self.claims = [*self.claims[-20:], claim]
        return claim | {"sale": sale}


class Till(Shop):
    """A shop's till. It sells, and sometimes cancels a hold, refunds or looks up a claim."""

    @task(60)
    def sale(self) -> None:
        sale = CUSTOMERS.sale(STORE_ID, now())
        self.ask("POST", "/v1/quotes", "quote", 200, body=sale)
        self.sell()

    @task(15)
    def hold_and_confirm(self) -> None:
        if claim := self.sell(hold=True):
            self.ask("POST", f"/v1/claims/{claim['claim_id']}/confirm", "confirm", 200)

    @task(4)
    def hold_and_cancel(self) -> None:
        if claim := self.sell(hold=True):
            self.ask("POST", f"/v1/claims/{claim['claim_id']}/cancel", "cancel", 200)

    @task(6)
    def invoice(self) -> None:
        if self.claims:
            claim = self.claims[-1]
            invoice = {
                # Twenty digits that begin with the year; the claim's id is random at its end.
                "number": claim["created_at"][2:4] + f"{UUID(claim['claim_id']).int % 10**18:018}",
                "date": claim["created_at"][:10],
                "buyer": "顾客",
                "total_fen": claim["price_fen"],
            }
            self.ask("PUT", f"/v1/claims/{claim['claim_id']}/invoice", "invoice", 200, body=invoice)

    @task(3)
    def take_back(self) -> None:
        if self.claims:
            claim = self.claims.pop(0)
            self.ask(
                "POST",
                f"/v1/claims/{claim['claim_id']}/refunds",
                "refund",
                201,
                body={"lines": [1], "reason": "returned"},
                key=f"R-{claim['order_no']}",
            )

    @task(5)
    def look_up(self) -> None:
        if self.claims:
            claim = self.claims[0]
            self.ask("GET", f"/v1/claims?order_no={claim['order_no']}", "find", 200)
            self.ask("GET", f"/v1/claims/by-key/{claim['order_no']}", "by key", 200)

    @task(3)
    def answer_was_lost(self) -> None:
        claim = self.sell()
        if claim is None:
            return
        status, again = self.ask(
            "POST",
            "/v1/claims",
            "claim, repeated",
            201,
            body=claim["sale"] | {"hold": False},
            key=claim["order_no"],
        )
        if status == 201 and again["claim_id"] != claim["claim_id"]:
            raise AssertionError("A repeat was answered with another claim.")


class OpeningTill(Shop):
    """A till in the minute when a tranche opens. It sells only appliances; most are refused."""

    @task
    def sale(self) -> None:
        self.sell(*APPLIANCES)


class Gateway(Caller):
    """The gateway of a chain. It sends the sales of its shops in one request."""

    wait_time = constant_throughput(1)

    @task
    def batch(self) -> None:
        claims = []
        for _ in range(PLAN.get("batch", BATCH)):
            sale = CUSTOMERS.sale(STORE_ID, now())
            claims.append({"idempotency_key": sale["order_no"], "checkout": sale})
        status, answer = self.ask("POST", "/v1/claims/batch", "batch", 200, body={"claims": claims})
        results = answer.get("results", []) if status == 200 else []
        for result in results:
            note(result["status"], result.get("claim") or result.get("problem"))
        if len(results) != len(claims):
            raise AssertionError(f"{len(claims)} claims were sent, {len(results)} answered.")


class RetryingTill(Shop):
    """A till that retries with the same key until it gets an answer."""

    network_timeout = connection_timeout = PATIENCE_S

    @task
    def sale(self) -> None:
        if time.time() > PLAN["real"] + LAST_SALE_AT * PLAN["stages"][-1][0]:
            return  # Locust may end a user between two tries
        sale = CUSTOMERS.sale(STORE_ID, now())
        sales["begun"] += 1
        began = time.perf_counter()
        while True:
            status, answer = self.ask(
                "POST",
                "/v1/claims",
                "claim",
                # No answer, or an honest "not now": both are retried.
                *(201, 409, 0, 429, 503),
                body=sale,
                key=sale["order_no"],
                named=_granted_or_refused,
            )
            if status in (201, 409):
                break
            lost_at.append(time.time())
            gevent.sleep(CUSTOMERS.random.uniform(*RETRY_S))
        note(status, answer)
        sales["answered"] += 1
        self.environment.events.request.fire(
            request_type="SALE",
            name="until answered",
            response_time=(time.perf_counter() - began) * 1000,
            response_length=0,
            exception=None,
            context={},
        )


class Bureau(Caller):
    """A user at the bureau who watches the budgets."""

    role = "bureau"
    fixed_count = 1
    wait_time = between(1, 2)

    @task
    def look(self) -> None:
        self.ask("GET", "/v1/budgets", "budgets", 200)


class Finance(Caller):
    """A user in finance who exports the day's journal and its totals."""

    role = "finance"
    fixed_count = 1
    wait_time = between(4, 6)

    @task
    def export(self) -> None:
        today = now().date()
        span = f"from={today}&to={today}"
        self.ask("GET", f"/v1/exports/journal?{span}&format=csv", "journal, csv", 200)
        self.ask("GET", f"/v1/exports/journal/totals?{span}", "totals", 200)


class Stages(LoadTestShape):
    """[[until, in seconds, users, started a second], ...] of the plan, then the end."""

    use_common_options = False

    def tick(self) -> tuple[int, float] | None:
        ran = self.get_run_time()
        for until_s, users, a_second in PLAN["stages"]:
            if ran < until_s:
                return users, a_second
        return None


def note(status: int, answer: Any) -> None:
    """Record an answer."""
    if status == 201:
        granted[answer["claim_id"]] = answer["subsidy_fen"]
        answers["granted"] += 1
    else:
        reasons = {reason["code"] for reason in (answer or {}).get("reasons") or ()}
        answers[", ".join(sorted(reasons)) or (answer or {}).get("code") or str(status)] += 1


def _granted_or_refused(status: int, answer: Any) -> str:
    if status == 201:
        return "claim, granted"
    return "claim, refused" if status == 409 else "claim, not answered"


@events.test_start.add_listener
def begun(environment: Environment, **_: Any) -> None:
    Path(PLAN["begun"]).touch()


@events.quitting.add_listener
def write_down(environment: Environment, **_: Any) -> None:
    stats = [
        {
            "method": entry.method,
            "name": entry.name,
            "requests": entry.num_requests,
            "failures": entry.num_failures,
            "per_s": entry.total_rps,
            "p50_ms": entry.get_response_time_percentile(0.5),
            "p99_ms": entry.get_response_time_percentile(0.99),
            "max_ms": entry.max_response_time,
        }
        for entry in environment.stats.entries.values()
    ]
    outcome = {
        "stats": stats,
        "errors": [error.to_name() for error in environment.stats.errors.values()],
        "answers": answers,
        "granted": granted,
        "sales": sales,
        "lost_at": lost_at,
    }
    Path(PLAN["outcome"]).write_text(json.dumps(outcome, ensure_ascii=False))
