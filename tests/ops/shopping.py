"""A small morning at the tills: sales, refusals, holds, refunds, invoices, an export."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.builders import checkout_json, item_json, old_bike_json, old_car_json, resident_id, vin

GOODS: tuple[dict[str, Any], ...] = (
    {"category": "air_conditioner", "energy_grade": "1", "price_fen": 599_900},
    {"category": "refrigerator", "energy_grade": "2", "price_fen": 399_900},
    {"category": "phone", "energy_grade": None, "price_fen": 499_900},
    {"category": "sofa", "energy_grade": None, "price_fen": 800_000},
    {"category": "e_bike", "energy_grade": None, "price_fen": 299_900},
    {"category": "new_energy_car", "energy_grade": None, "price_fen": 15_980_000},
    {"category": "rice_cooker", "energy_grade": None, "price_fen": 29_900},  # grade required
    {"category": "dishwasher", "energy_grade": "3", "price_fen": 329_900},  # not eligible
    {"category": "phone", "energy_grade": None, "price_fen": 699_900},  # over the limit
)


@dataclass
class Tills:
    """The tills of the sandbox's retailer. Each sale has another person."""

    base_url: str
    keys: dict[str, str]
    opened: datetime  # by the business clock
    sales: int = 0

    def call(
        self, method: str, path: str, body: Any = None, *, key: str = "", role: str = "pos"
    ) -> Any:
        """The answer's body, whatever its status."""
        headers = {"Authorization": f"Bearer {self.keys[role]}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            text = error.read()
        return json.loads(text) if text.startswith((b"{", b"[")) else text

    def checkout(self, *, hold: bool = False) -> dict[str, Any]:
        self.sales += 1
        n = self.sales
        goods = {k: v for k, v in GOODS[n % len(GOODS)].items() if v is not None}
        item = {**item_json(serial_no=f"SHOP{n:08d}"), "energy_grade": None, **goods}
        if item["energy_grade"] is None:
            del item["energy_grade"]
        if item["category"] == "new_energy_car":
            item |= {"serial_no": vin(n), "trade_in": old_car_json(serial_no=vin(5_000_000 + n))}
        if item["category"] == "e_bike":
            item["trade_in"] = old_bike_json(serial_no=f"OLD{n:08d}")
        return checkout_json(
            order_no=f"SHOP-{n}",
            sold_at=(self.opened - timedelta(hours=1)).isoformat(timespec="seconds"),
            consumer={"id_type": "resident_id", "id_number": resident_id(n, "19850101")},
            items=[item],
            hold=hold,
        )

    def round(self) -> None:
        """Every kind of request, some of each."""
        for _ in GOODS:
            self.call("POST", "/v1/claims", self.checkout(), key=f"shop-{self.sales}")
        self.call("POST", "/v1/quotes", self.checkout())
        batch = [
            {"idempotency_key": f"batch-{self.sales}-{n}", "checkout": self.checkout()}
            for n in range(9)
        ]
        results = self.call("POST", "/v1/claims/batch", {"claims": batch})["results"]
        granted = [result["claim"] for result in results if result["status"] == 201]
        self._after(granted)
        for what in ("confirm", "cancel"):
            self._held(what)
        self.call("GET", "/v1/exports/journal?from=2025-06-01&to=2025-06-30", role="finance")

    def _after(self, granted: list[dict[str, Any]]) -> None:
        first, second, *_ = granted
        again = {"lines": [1], "reason": "returned"}
        self.call("POST", f"/v1/claims/{first['claim_id']}/refunds", again, key=f"r-{self.sales}")
        invoice = {
            "number": f"25{self.sales:018d}",
            "date": self.opened.date().isoformat(),
            "buyer": "顾客",
            "total_fen": second["payable_fen"] + second["subsidy_fen"],
        }
        self.call("PUT", f"/v1/claims/{second['claim_id']}/invoice", invoice)

    def _held(self, what: str) -> None:
        while True:
            held = self.call(
                "POST", "/v1/claims", self.checkout(hold=True), key=f"hold-{self.sales}"
            )
            if "claim_id" in held:
                break
        self.call("POST", f"/v1/claims/{held['claim_id']}/{what}", {})
