"""Customers and their checkouts as tills send them. Every number has a valid check digit; goods and
prices are those of `loadtests.goods`."""

import itertools
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from loadtests import goods
from service.core.calendar import SHANGHAI
from tests.builders import checkout_json, resident_id

# Between 65 and 90 years old, so that they are old enough for every scheme.
ELDEST = date(1935, 1, 1)
BIRTHDAYS = 9_000
# One sale in so many has two items.
PAIRS_ARE_ONE_IN = 6


class Customers:
    """Sales that share no person and no serial number. The sales of 100 seeds share none either, up
    to 5,000 sales each."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._seed = seed % 100
        self._numbers = itertools.count()

    def resident_id(self, number: int) -> str:
        birth_on = ELDEST + timedelta(days=number % BIRTHDAYS)
        person = self._seed * 10_000 + number // BIRTHDAYS
        return resident_id(person, f"{birth_on:%Y%m%d}")

    def sale(
        self, store_id: str, sold_at: datetime, kinds: tuple[goods.Good, ...] = ()
    ) -> dict[str, Any]:
        """A checkout that is eligible; its goods are of these kinds, if any are given."""
        number = next(self._numbers)
        serial = self._seed * 10_000 + number * 2
        sold = [self._kind(kinds)]
        if self.random.randrange(PAIRS_ARE_ONE_IN) == 0:
            other = self._kind(kinds)
            # One quota per category, and one for both kinds of cars.
            if other.category != sold[0].category and other.category not in goods.CARS:
                sold.append(other)
        items = [
            goods.item_of(good, serial + at, self.random, line_no=at + 1)
            for at, good in enumerate(sold)
        ]
        return checkout_json(
            store_id=store_id,
            order_no=f"POS-{self._seed:02d}-{number:07d}",
            sold_at=sold_at.astimezone(SHANGHAI).isoformat(timespec="seconds"),
            consumer={"id_type": "resident_id", "id_number": self.resident_id(number)},
            items=items,
        )

    def _kind(self, kinds: tuple[goods.Good, ...]) -> goods.Good:
        return self.random.choice(kinds) if kinds else goods.pick(self.random)
