"""A claim of the ledger as the checkout that it was, as far as the rules read it.

The ledger has no date of birth. A buyer with a resident ID counts as old enough.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal, cast

from service.core.checkout import Checkout, EnergyGrade, Item
from service.core.value import value
from service.replay.period import ReplayPeriod


@value
class _Buyer:
    born_on: date | None

    def birth_on(self) -> date | None:
        return self.born_on


_WITH_RESIDENT_ID = _Buyer(date.min)
_WITH_OTHER_DOCUMENT = _Buyer(None)


@value
class _OldVehicle:
    kind: Literal["car", "e_bike"]
    serial_no: str
    document_no: str | None
    owned_since: date | None


@value
class _SoldItem:
    line_no: int
    category: str
    price_fen: int
    energy_grade: EnergyGrade | None
    serial_no: str
    imei: str | None
    imei2: str | None
    trade_in: _OldVehicle | None
    known_facts: dict[str, int | str]

    def facts(self) -> dict[str, int | str]:
        return self.known_facts

    serials = Item.serials


@value
class _SoldCheckout:
    sold_at: datetime
    consumer: _Buyer
    items: tuple[_SoldItem, ...]


def checkout_of(
    lines: Sequence[Any], sold_at: datetime, id_type: str, period: ReplayPeriod
) -> Checkout:
    """The checkout of a claim's lines (rows of `read.LINES`), sold at this moved instant."""
    # Not the model itself: to make one takes longer than to price it, even without validation.
    buyer = _WITH_RESIDENT_ID if id_type == "resident_id" else _WITH_OTHER_DOCUMENT
    items = tuple([_item(line, period) for line in lines])
    return cast(Checkout, _SoldCheckout(sold_at, buyer, items))


def _item(line: Any, period: ReplayPeriod) -> _SoldItem:
    facts, trade_in = line["facts"], line["trade_in"]
    known = json.loads(facts) if facts else {}
    return _SoldItem(
        line["line_no"],
        line["category"],
        line["price_fen"],
        line["energy_grade"],
        line["serial_no"],
        line["imei"],
        known.get("imei2"),
        _old_vehicle(json.loads(trade_in), period) if trade_in else None,
        known,
    )


def _old_vehicle(stored: dict[str, Any], period: ReplayPeriod) -> _OldVehicle:
    since = stored.get("owned_since")
    return _OldVehicle(
        stored["kind"],
        stored["serial_no"],
        stored.get("document_no"),
        period.moved(date.fromisoformat(since)) if since else None,
    )
