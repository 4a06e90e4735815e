"""Two releases sell pieces whose serial numbers are typed with hyphens: none is paid for twice."""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.core.calendar import SHANGHAI
from tests.builders import checkout_json, item_json, resident_id, uscc
from tests.upgrade.former import NOT_HERE, ROOT, in_history, unpack
from tests.upgrade.rolling import Release, Served, engines, enrol

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not in_history(), reason=NOT_HERE),
]


@dataclass
class Till:
    """Sells at one release. The idempotency key of sale n is n, and its buyer has number n."""

    served: Served
    key: str
    sold_at: str

    def sell(self, n: int, serial_no: str) -> httpx.Response:
        body = checkout_json(
            store_id="S1",
            sold_at=self.sold_at,
            consumer={"id_type": "resident_id", "id_number": resident_id(n)},
            items=[item_json(serial_no=serial_no)],
        )
        return self._post("/v1/claims", f"k{n}", body)

    def refund(self, claim: httpx.Response) -> httpx.Response:
        body = {"lines": [1], "reason": "returned"}
        claim_id = claim.json()["claim_id"]
        return self._post(f"/v1/claims/{claim_id}/refunds", f"r-{claim_id}", body)

    def _post(self, path: str, key: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(
            f"http://127.0.0.1:{self.served.port}{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": key},
            timeout=30,
        )


def test_two_releases_pay_for_no_piece_twice(tmp_path: Path) -> None:
    with ExitStack() as stack:
        *_, database_url, redis_url = stack.enter_context(engines(tmp_path))
        old = Release("old", unpack(tmp_path / "former"), database_url, redis_url)
        new = Release("new", ROOT, database_url, redis_url)
        old.butie("migrate")
        key = enrol(old, tmp_path, uscc(1))
        sold_at = datetime.now(SHANGHAI).replace(microsecond=0).isoformat()
        served = stack.enter_context(old.serve(tmp_path))
        former = Till(served, key, sold_at)
        claims = {"former's": former.sell(1, "sn-1")}
        new.butie("migrate")
        today = Till(stack.enter_context(new.serve(tmp_path)), key, sold_at)

        assert refused(today.sell(2, "SN-1"))
        assert today.sell(1, "sn-1").headers["Idempotency-Replayed"] == "true"
        claims["today's"] = today.sell(3, "sn-3")
        assert claims["today's"].status_code == 201
        assert refused(former.sell(4, "SN-3")) and refused(former.sell(4, "SN3"))
        assert former.sell(3, "sn-3").headers["Idempotency-Replayed"] == "true"

        # Each release refunds the other's claim, and frees all that it held.
        assert today.refund(claims["former's"]).status_code == 201
        assert former.refund(claims["today's"]).status_code == 201
        assert today.sell(5, "SN1").status_code == today.sell(6, "S-N3").status_code == 201

        assert former.sell(7, "sn-7").status_code == 201
        served.stop()
        assert "1 folded serial" in new.butie("ledger", "fold-serials")
        assert refused(today.sell(8, "SN7"))
        new.butie("audit")


def refused(answer: httpx.Response) -> bool:
    return answer.status_code == 409 and [r["code"] for r in answer.json()["reasons"]] == [
        "serial_already_claimed"
    ]
