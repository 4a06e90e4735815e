"""Valid checkouts, and numbers with good check digits, for every kind of test.

Each function of `n` gives a different value for a different n, the same one every time.
"""

import json
from typing import Any

from stdnum import luhn
from stdnum.cn import ric
from stdnum.cn.uscc import calc_check_digit as calc_uscc_digit

from service.core.checkout import Checkout
from service.policies import read_book

SERIAL_FORMATS = read_book("330402").serial_formats

# Districts of Jiaxing: Nanhu, Xiuzhou, Jiashan, Haiyan, Haining, Pinghu, Tongxiang.
PLACES = ("330402", "330411", "330421", "330424", "330481", "330482", "330483")
# The letters and digits of a VIN, and what GB 16735 makes of them and of their places.
VIN_VALUES = dict(
    zip("0123456789ABCDEFGHJKLMNPRSTUVWXYZ", "012345678912345678123457923456789", strict=True)
)
VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def resident_id(n: int = 0, birth: str = "19600307") -> str:
    """The n-th valid resident ID of a birthday (YYYYMMDD), n up to 999,999.

    The first 1,000 differ in their sequence, the first 7,000 are Jiaxing's own.
    """
    round_, sequence = divmod(n, 1000)
    place = PLACES[round_] if round_ < len(PLACES) else str(340000 + round_)
    stem = f"{place}{birth}{sequence:03d}"
    return stem + ric.calc_check_digit(stem + "0")


def vin(n: int = 0) -> str:
    """The n-th valid VIN, n up to 9,999,999."""
    plain = f"LSGJA52U0B{n:07d}"
    total = sum(
        int(VIN_VALUES[sign]) * weight for sign, weight in zip(plain, VIN_WEIGHTS, strict=True)
    )
    return plain[:8] + "0123456789X"[total % 11] + plain[9:]


def imei(n: int = 0) -> str:
    """The n-th valid IMEI, n up to 999,999."""
    stem = f"86012304{n:06d}"
    return stem + luhn.calc_check_digit(stem)


def serial(n: int = 0) -> str:
    """The n-th serial number of a household appliance."""
    return f"AC25F{n:09d}"


def item_json(**overrides: Any) -> dict[str, Any]:
    """A grade 1 air conditioner at 5,999.00 yuan, but for what is overridden."""
    return {
        "line_no": 1,
        "category": "air_conditioner",
        "price_fen": 599_900,
        "energy_grade": "1",
        "serial_no": serial(1),
        **overrides,
    }


def old_car_json(**overrides: Any) -> dict[str, Any]:
    """An old car with its papers, long in the buyer's own name."""
    return {
        "kind": "car",
        "serial_no": vin(9_000_000),
        "document_no": "ZJ2025-0042",
        "owned_since": "2021-03-01",
        **overrides,
    }


def old_bike_json(**overrides: Any) -> dict[str, Any]:
    return {"kind": "e_bike", "serial_no": "FRAME-OLD-0001", **overrides}


def checkout_json(**overrides: Any) -> dict[str, Any]:
    """The body of a valid one-line checkout, but for the top-level fields overridden."""
    return {
        "store_id": "NH0001",
        "order_no": "POS-20250618-000123",
        "sold_at": "2025-06-18T10:15:00+08:00",
        "consumer": {"id_type": "resident_id", "id_number": resident_id(1)},
        "items": [item_json()],
        **overrides,
    }


def make_checkout(**overrides: Any) -> Checkout:
    """`checkout_json`, validated as the API validates it."""
    body = json.dumps(checkout_json(**overrides))
    return Checkout.model_validate_json(body, context=SERIAL_FORMATS)


def uscc(n: int = 0) -> str:
    """The n-th valid unified social credit code of a company in Nanhu."""
    stem = f"91330402MA{n:07d}"
    return stem + calc_uscc_digit(stem)
