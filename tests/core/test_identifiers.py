"""The numbers on goods: which spellings are one, and which are none at all."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from service.api.invalid import telling
from service.core.checkout import Checkout, Item
from service.core.identifiers import folded_serial, serial_spellings
from service.core.policy_file import PolicyFileError, parse_book
from service.core.quote import quote
from service.core.reasons import ReasonCode
from service.policies import SHIPPED, read_book
from tests.builders import checkout_json, imei, item_json, make_checkout, old_bike_json, vin
from tests.conftest import NOW

E_BIKE = "123422507654321"


def item(**overrides: Any) -> Item:
    return make_checkout(items=[item_json(**overrides)]).items[0]


def faults(formats: dict[str, str] | None = None, **overrides: Any) -> list[tuple[str, str]]:
    """The field and the kind of each fault of an item."""
    body = json.dumps(checkout_json(items=[item_json(**overrides)]))
    try:
        Checkout.model_validate_json(body, context=formats)
    except ValidationError as error:
        return [
            (".".join(map(str, one["loc"][2:])), one["type"]) for one in telling(error.errors())
        ]
    return []


@pytest.mark.parametrize(
    "typed", ["SN001A", "sn001a", "SN-001-A", "SN 001 A", "s-n 0 0-1a", " SN001A ", "-SN001A-"]
)
def test_hyphens_blanks_and_case_make_no_other_serial(typed: str) -> None:
    assert folded_serial(typed) == "SN001A"
    assert "SN001A" in item(serial_no=typed).serials()


@pytest.mark.parametrize("other", ["SNO01A", "SN00IA", "SN001A.", "SN/001A", "SN_001A", "SN01A"])
def test_any_other_difference_makes_another_serial(other: str) -> None:
    assert folded_serial(other) != "SN001A"


def test_a_serial_is_kept_as_typed_but_for_blanks_at_its_ends() -> None:
    assert item(serial_no=" sn-1 A ").serial_no == "sn-1 A"


def test_a_piece_is_held_as_folded_and_as_the_former_release_holds_it() -> None:
    assert serial_spellings("SN1A") == ("SN1A",)
    assert serial_spellings("sn1a") == ("SN1A",)
    assert serial_spellings("sn-1a") == ("SN1A", "SN-1A")


@pytest.mark.parametrize(
    "bad", ["", "-", " ", "- -", "x" * 65, "SN\x00", "SN\n", "SN\t1", "序列号"]
)
def test_a_serial_that_is_none_is_refused(bad: str) -> None:
    assert faults(serial_no=bad) == [("serial_no", "serial")]


def test_two_lines_with_two_spellings_are_one_piece() -> None:
    lines = [item_json(serial_no="SN-1A"), item_json(line_no=2, serial_no="sn 1a")]
    answer = quote(read_book("330402"), make_checkout(items=lines), NOW)
    codes = [[reason.code for reason in line.reasons] for line in answer.lines]
    assert codes == [[], [ReasonCode.SERIAL_ALREADY_CLAIMED]]


def test_an_old_bike_is_not_the_new_one_in_another_spelling() -> None:
    bike = item_json(
        category="e_bike",
        energy_grade=None,
        serial_no="frame 1",
        trade_in=old_bike_json(serial_no="FRAME-1"),
    )
    (line,) = quote(read_book("330402"), make_checkout(items=[bike]), NOW).lines
    assert [reason.variant for reason in line.reasons] == ["same_serial"]


@pytest.mark.parametrize("typed", ["86-012304-000001-9", "86 012304 000001 9", " 860123040000019-"])
def test_an_imei_is_its_digits(typed: str) -> None:
    assert item(imei=typed).imei == imei(1) == "860123040000019"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "-",
        "860123040000018",
        "86012304000001",
        "8601230400000190",
        "86012304000001900",
        "86012304000001X",
        "86.012304.000001.9",
        "８６０１２３０４００００１９",
        "000000000000000",
        "00-000000-000000-0",
        "860123040000019" + " " * 40,
    ],
)
def test_whatever_is_no_imei_has_one_sentence(bad: str) -> None:
    assert faults(imei=bad) == [("imei", "imei")]
    assert faults(imei=imei(3), imei2=bad) == [("imei2", "imei")]


def test_a_second_imei_is_a_number_of_the_piece() -> None:
    phone = item(serial_no="PH-1", imei=imei(1), imei2="86-012304-000002-7")
    assert phone.imei2 == imei(2)
    assert phone.serials() == ("PH1", "PH-1", imei(1), imei(2))
    assert phone.facts() == {"imei2": imei(2)}
    spaced = item(serial_no="86-012304-000001-9", imei=imei(1), imei2=imei(2))
    assert spaced.serials() == (imei(1), "86-012304-000001-9", imei(2))


def test_a_second_imei_needs_a_first_one_and_differs_from_it() -> None:
    assert faults(imei=imei(1), imei2=imei(1)) == [("imei2", "imei2")]
    assert faults(imei2=imei(1)) == [("imei2", "imei2")]
    assert faults(imei=None, imei2=imei(1)) == [("imei2", "imei2")]
    assert faults(imei=imei(1), imei2=None) == []
    assert faults(imei="1", imei2=imei(1)) == [("imei", "imei")]


def test_a_vin_may_be_typed_in_groups() -> None:
    grouped = f"{vin(1)[:3]}-{vin(1)[3:9]} {vin(1)[9:]}".lower()
    assert faults({"fuel_car": "vin"}, category="fuel_car", serial_no=grouped) == []
    wrong = [("serial_no", "vin")]
    assert faults({"fuel_car": "vin"}, category="fuel_car", serial_no=grouped[:-1]) == wrong


@pytest.mark.parametrize("typed", [E_BIKE, "1234 2 25 07654321", "1234-2-25-07654321"])
def test_the_code_of_an_e_bike_has_15_digits_of_which_the_fifth_is_its_kind(typed: str) -> None:
    bike = {"category": "e_bike", "energy_grade": None, "trade_in": old_bike_json()}
    assert faults({"e_bike": "e_bike_code"}, **bike, serial_no=typed) == []


@pytest.mark.parametrize(
    "bad", [E_BIKE[:-1], E_BIKE + "1", "123412507654321", "12342250765432X", "FRAME1"]
)
def test_another_number_is_no_code_of_an_e_bike(bad: str) -> None:
    bike = {"category": "e_bike", "energy_grade": None, "trade_in": old_bike_json()}
    wrong = [("serial_no", "e_bike_code")]
    assert faults({"e_bike": "e_bike_code"}, **bike, serial_no=bad) == wrong
    assert faults({"e_bike": "any"}, **bike, serial_no=bad) == []


NANHU = (SHIPPED / "nanhu-2025.yaml").read_text(encoding="utf-8")
SWITCH = "e_bike_code:\n      value: false"


def test_a_policy_asks_for_the_codes_of_e_bikes_if_it_says_so() -> None:
    assert read_book("330402").serial_formats["e_bike"] == "any"
    assert SWITCH in NANHU
    text = NANHU.replace(SWITCH, SWITCH.replace("false", "true"))
    book = parse_book("330402", {"nanhu-2025.yaml": text})
    assert book.serial_formats["e_bike"] == "e_bike_code"
    assert book.serial_formats["fuel_car"] == "vin"


def test_a_policy_asks_for_one_format_only() -> None:
    text = NANHU.replace("e_bike_code:", "serial: vin\n    e_bike_code:", 2).replace(
        "# serial: vin\n    e_bike_code:", "# e_bike_code:"
    )
    with pytest.raises(PolicyFileError, match="a VIN or the code of an e-bike, not both"):
        parse_book("330402", {"nanhu-2025.yaml": text})
