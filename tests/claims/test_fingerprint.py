"""The fingerprint by which a retry is recognised: the same over releases, whatever they add."""

import json
from typing import Any

import pytest
from pydantic import Field

from service.claims.people.digests import Digester
from service.core.checkout import Checkout, is_absent

KEYS = ("k" * 32, "n" * 32)
SMALL: dict[str, Any] = {
    "store_id": "NH0001",
    "order_no": "POS-1",
    "sold_at": "2025-06-18T10:15:00+08:00",
    "consumer": {"id_type": "passport", "id_number": "E12345678"},
    "items": [
        {
            "line_no": 1,
            "category": "air_conditioner",
            "price_fen": 599900,
            "energy_grade": "1",
            "serial_no": "AC25F0001234",
        }
    ],
}
FULL: dict[str, Any] = {
    **SMALL,
    "hold": True,
    "invoice_no": "25332000000012345678",
    "delivery_region": "330402",
    "items": [
        {
            **SMALL["items"][0],
            "barcode": "6901234567892",
            "brand": "某牌",
            "model": "M-1",
            "imei": "490154203237518",
            "trade_in": {"kind": "e_bike", "serial_no": "OLD-1", "document_no": "D1"},
        },
        {
            "line_no": 2,
            "category": "fuel_car",
            "price_fen": 15980000,
            "serial_no": "LSGJA52U3BH123458",
            "trade_in": {
                "kind": "car",
                "serial_no": "LFV3A23C1C3000015",
                "document_no": "ZJ2025-0042",
                "owned_since": "2021-03-01",
            },
        },
    ],
}
# A till may send small letters and hyphens. A fingerprint has the serial number in upper case.
SMALL_LETTERS, HYPHENS = (
    {
        **SMALL,
        "items": [
            {
                **SMALL["items"][0],
                "serial_no": serial_no,
                "trade_in": {"kind": "e_bike", "serial_no": "old-1"},
            }
        ],
    }
    for serial_no in ("ac25f0001234", "ac-25f/0001_234")
)
# As 0.1.0 and the release before it made them, with the first key and with both.
PINNED = [
    (SMALL, 1, "0731114e4f25db4ed9c356e75b5e70d28cc90923e1dfbc3d621a6a7c1a876eb8"),
    (SMALL, 2, "0217ace910a17a6899dff40d0eb7327495db2c292e5af05e85513f3d7efb80b368"),
    (FULL, 1, "27efdd4c0f684f3f34b01f130eb9e88c71d0b0050e12839660eea641c5faaaef"),
    (FULL, 2, "0269941820016130f58ebed193d9bf8327c1fa3c8b74565a88ae2d8f55173638c0"),
    (SMALL_LETTERS, 1, "72840a2b160ff97d2275704887da088ed299ed159f99dcd30b928d457a512bad"),
    (SMALL_LETTERS, 2, "02c8e610baadb2be38d2e91ad7807ccce3c06e76ae4c4a820ca342fc1c3c3d144d"),
    (HYPHENS, 1, "f4ac9dfa568aa4a45b09af1b6a72dfb2e99bd92f886da6a8761fea85f8013e1c"),
    (HYPHENS, 2, "026157b5a6b7972d3bf60edf56860614a00b29b7e7904ac11eddeea299a607a5ba"),
]


@pytest.mark.parametrize(("body", "keys", "digest"), PINNED)
def test_a_body_has_the_digest_that_it_has_always_had(
    body: dict[str, Any], keys: int, digest: str
) -> None:
    assert fingerprint(body, Digester(*KEYS[:keys])).hex() == digest


def fingerprint(
    body: dict[str, Any], digester: Digester, model: type[Checkout] = Checkout
) -> bytes:
    return digester.fingerprint(model.model_validate_json(json.dumps(body)))


REPEATS = {
    "equal": SMALL,
    "its names in another order": dict(reversed(SMALL.items())),
    "the instant in UTC": {**SMALL, "sold_at": "2025-06-18T02:15:00Z"},
    "the instant with a fraction": {**SMALL, "sold_at": "2025-06-18T10:15:00.000+08:00"},
    "the document in small letters": {
        **SMALL,
        "consumer": {"id_type": "passport", "id_number": "e12345678"},
    },
    "an optional field as null": {**SMALL, "invoice_no": None},
    "the serial number in small letters, with blanks at its ends": {
        **SMALL,
        "items": [{**SMALL["items"][0], "serial_no": " ac25f0001234 "}],
    },
    "a default that is said": {**SMALL, "hold": False},
}


@pytest.mark.parametrize("body", REPEATS.values(), ids=REPEATS)
def test_another_spelling_of_a_body_is_a_repeat(body: dict[str, Any]) -> None:
    digester = Digester(KEYS[0])
    assert fingerprint(body, digester) == fingerprint(SMALL, digester)


def test_an_imei_is_its_digits_however_it_is_typed() -> None:
    digester = Digester(KEYS[0])
    typed = {**FULL["items"][0], "imei": "49-015420-323751 8"}
    body = {**FULL, "items": [typed, FULL["items"][1]]}
    assert fingerprint(body, digester) == fingerprint(FULL, digester)
    second = {**FULL["items"][0], "imei2": "860123040000019"}
    body = {**FULL, "items": [second, FULL["items"][1]]}
    assert fingerprint(body, digester) != fingerprint(FULL, digester)


class Later(Checkout):
    """A checkout with a field that a later release adds as the law says."""

    channel: str | None = Field(None, exclude_if=is_absent)


class Lawless(Checkout):
    """The same field added without the law."""

    channel: str | None = None


def test_a_field_of_a_later_release_changes_only_the_bodies_that_have_it() -> None:
    digester = Digester(*KEYS)
    today = fingerprint(SMALL, digester)
    assert fingerprint(SMALL, digester, Later) == today
    assert fingerprint({**SMALL, "channel": None}, digester, Later) == today
    assert fingerprint({**SMALL, "channel": "app"}, digester, Later) != today
    assert fingerprint(SMALL, digester, Lawless) != today
