"""A ledger that the former release has written: each repeat of its claims is still one."""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.core.calendar import SHANGHAI
from tests.builders import checkout_json, imei, item_json, resident_id, serial, uscc
from tests.upgrade.former import NOT_HERE, ROOT, in_history, unpack
from tests.upgrade.rolling import Release, Served, engines, enrol

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not in_history(), reason=NOT_HERE),
]


def sales() -> dict[str, dict[str, Any]]:
    """By key: a small body, and one with every optional field of its time."""
    sold_at = datetime.now(SHANGHAI).replace(microsecond=0).isoformat()
    small = {"store_id": "S1", "sold_at": sold_at}
    full = {
        "hold": True,
        "invoice_no": "25332000000012345678",
        "delivery_region": "330402",
        "consumer": {"id_type": "resident_id", "id_number": resident_id(2)},
    }
    item = {"barcode": "6901234567892", "brand": "某牌", "model": "M-1", "imei": imei(2)}
    return {
        "small": checkout_json(**small, items=[item_json(serial_no=serial(1))]),
        "full": checkout_json(**small, **full, items=[item_json(serial_no=serial(2), **item)]),
    }


def test_repeats_of_all_kinds_are_recognised_by_both_releases(tmp_path: Path) -> None:
    with ExitStack() as stack:
        *_, database_url, redis_url = stack.enter_context(engines(tmp_path))
        urls = (database_url, redis_url)
        old = Release("old", unpack(tmp_path / "former"), *urls)
        new = Release("new", ROOT, *urls)
        old.butie("migrate")
        key = enrol(old, tmp_path, uscc(1))
        claimed = sales()
        with old.serve(tmp_path) as former:
            claims = {name: post(former, key, name, body) for name, body in claimed.items()}
            assert {answer.status_code for answer in claims.values()} == {201}
        new.butie("migrate")
        today = stack.enter_context(new.serve(tmp_path))
        for name, body in claimed.items():
            for spelling in spellings(body):
                answer = post(today, key, name, spelling)
                assert answer.headers.get("Idempotency-Replayed") == "true", answer.text
                assert answer.json() == claims[name].json()
            another = with_item(body, area_dm2=650)
            assert post(today, key, name, another).json()["code"] == "idempotency_key_reused"
        # And back: what this release has written, the former one recognises.
        buyer = {"id_type": "resident_id", "id_number": resident_id(3)}
        body = with_item({**claimed["small"], "consumer": buyer}, serial_no=serial(3))
        written = post(today, key, "third", body)
        assert written.status_code == 201
        former = stack.enter_context(old.serve(tmp_path))
        for spelling in spellings(body, area=False):
            assert post(former, key, "third", spelling).json() == written.json()


def spellings(body: dict[str, Any], *, area: bool = True) -> list[dict[str, Any]]:
    """Repeats of a body: equal, its names in another order, its instant in other spellings, and
    an optional field that is newer than the claim as null."""
    sold_at = body["sold_at"]
    assert sold_at.endswith("+08:00")
    utc = datetime.fromisoformat(sold_at).astimezone(UTC).isoformat().replace("+00:00", "Z")
    instants = (utc, sold_at.replace("+08:00", ".000+08:00"))
    newer = [with_item(body, area_dm2=None)] if area else []
    return [
        body,
        dict(reversed(body.items())),
        *({**body, "sold_at": instant} for instant in instants),
        *newer,
    ]


def with_item(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**body, "items": [{**body["items"][0], **more}]}


def post(served: Served, key: str, name: str, body: dict[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": name}
    return httpx.post(
        f"http://127.0.0.1:{served.port}/v1/claims", json=body, headers=headers, timeout=30
    )
