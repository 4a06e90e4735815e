"""The worked cases of the policies: data files, and the checkouts that they describe."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.core.checkout import Checkout
from tests.builders import (
    SERIAL_FORMATS,
    item_json,
    make_checkout,
    old_bike_json,
    old_car_json,
    resident_id,
    vin,
)

FILES = sorted(Path(__file__).parent.glob("cases-*.yaml"))


def worked_cases() -> list[Any]:
    return [
        pytest.param(
            {"sold_on": sheet["sold_on"], **case},
            sheet["policy"],
            id=f"{sheet['policy']}: {case['case']}",
        )
        for sheet in (yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES)
        for case in sheet["cases"]
    ]


def fen(yuan: str) -> int:
    return int(Decimal(yuan) * 100)


def trade_in(case: dict[str, Any], n: int) -> dict[str, Any] | None:
    told = case.get("trade_in", {})
    if told == "none":
        return None
    if SERIAL_FORMATS.get(case["category"]) == "vin":
        return old_car_json(**{"serial_no": vin(9_000_000 + n), **told})
    return old_bike_json(**told) if case["category"] == "e_bike" else None


def consumer(case: dict[str, Any], n: int) -> dict[str, str]:
    buyer = case.get("buyer", {})
    if buyer.get("document") == "passport":
        return {"id_type": "passport", "id_number": f"E{n:08d}"}
    birth = f"{buyer['birth']:%Y%m%d}" if "birth" in buyer else "19600307"
    return {"id_type": "resident_id", "id_number": resident_id(n, birth)}


def checkout(case: dict[str, Any], n: int = 1) -> Checkout:
    """The case as a sale. Another n: another buyer, piece of goods and old car."""
    item = item_json(
        category=case["category"],
        price_fen=fen(case["price"]),
        energy_grade=case.get("grade"),
        trade_in=trade_in(case, n),
        serial_no=vin(n) if SERIAL_FORMATS.get(case["category"]) == "vin" else f"SN-{n}",
    )
    return make_checkout(
        sold_at=f"{case['sold_on']}T10:15:00+08:00", consumer=consumer(case, n), items=[item]
    )
