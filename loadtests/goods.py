"""The goods of the programme, with their shares of the sales and their prices.

The shares of the schemes follow the Ministry of Commerce's count of items subsidised in the whole
country in 2025: 129 million appliances, 120 million home goods, 91 million phones and other digital
goods, 12.5 million e-bikes, 11.5 million cars. More than nine in ten appliances were of grade 1.
The split of a scheme into categories and the prices are assumed.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from tests.builders import imei, old_bike_json, old_car_json, vin


@dataclass(frozen=True, slots=True)
class Good:
    """A category with its weight among all items sold, and its range of prices in yuan."""

    category: str
    share: float
    yuan_from: int
    yuan_to: int
    grades: tuple[str, ...] = ()


_GRADED = ("1",) * 9 + ("2",)
GOODS = (
    *(
        Good(category, share, *yuan, _GRADED)
        for category, share, *yuan in (
            ("air_conditioner", 40, 1_999, 8_999),
            ("refrigerator", 18, 1_599, 9_999),
            ("washing_machine", 18, 999, 7_999),
            ("television", 14, 1_299, 12_999),
            ("computer", 10, 3_499, 11_999),
            ("water_heater", 7, 799, 4_999),
            ("gas_stove", 4, 499, 3_999),
            ("range_hood", 5, 999, 5_999),
            ("dishwasher", 1, 2_499, 6_999),
            ("water_purifier", 4, 899, 4_999),
            ("rice_cooker", 3, 199, 1_499),
            ("microwave_oven", 1, 299, 1_999),
        )
    ),
    Good("robot_vacuum", 2, 999, 4_999, ("none",)),
    Good("air_fryer", 2, 199, 999, ("none",)),
    Good("phone", 66, 999, 5_999),
    Good("tablet", 14, 999, 5_999),
    Good("smart_watch", 11, 199, 3_999),
    Good("cookware", 48, 99, 899),
    Good("lighting", 34, 99, 1_999),
    Good("smart_toilet", 12, 999, 5_999, ("1", "2")),
    Good("mattress", 9, 999, 7_999),
    Good("sofa", 7, 1_499, 11_999),
    Good("smart_lock", 6, 599, 2_999),
    Good("table_chair", 3, 499, 4_999),
    Good("elderly_adaptation", 1, 199, 2_999),
    Good("e_bike", 12.5, 1_999, 4_999),
    Good("new_energy_car", 6.9, 69_800, 289_800),
    Good("fuel_car", 4.6, 79_800, 259_800),
)
APPLIANCES = tuple(good for good in GOODS if good.grades == _GRADED)
CARS = ("new_energy_car", "fuel_car")
_SHARES = [good.share for good in GOODS]


def pick(random: Random) -> Good:
    """A random good, drawn by share."""
    return random.choices(GOODS, _SHARES)[0]


def item_of(good: Good, number: int, random: Random, line_no: int = 1) -> dict[str, Any]:
    """An item as a till sends it, with all that the policy requires. `number` makes its serial
    numbers; there are 1,000,000 different phones and 5,000,000 different cars."""
    price_fen = random.randint(good.yuan_from, good.yuan_to) * 100
    item: dict[str, Any] = {
        "line_no": line_no,
        "category": good.category,
        "price_fen": price_fen - random.choice((0, 0, 100, 1)),
        "serial_no": f"{good.category[:2].upper()}{number:X}{random.getrandbits(32):08X}",
    }
    if good.grades:
        item["energy_grade"] = random.choice(good.grades)
    if good.category == "phone":
        item["imei"] = imei(number % 1_000_000)
    elif good.category == "e_bike":
        item["trade_in"] = old_bike_json(serial_no=f"OLD-{number:X}")
    elif good.category in CARS:
        item["serial_no"] = vin(number % 5_000_000)
        item["trade_in"] = old_car_json(serial_no=vin(5_000_000 + number % 5_000_000))
    return item
