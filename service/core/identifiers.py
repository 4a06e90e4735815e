"""The numbers on goods: serial numbers, IMEIs, GTINs, VINs, the codes of e-bikes."""

import re
from typing import Annotated

from pydantic import AfterValidator, PlainSerializer, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError
from stdnum import ean, luhn
from vininfo import Vin

VIN_FORMAT = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
# Maker (4 digits), kind (2: an e-bike), year (2), number (8).
E_BIKE_CODE = re.compile(r"[0-9]{4}2[0-9]{10}")

SERIAL_LENGTH_MAX = 64
# Printable ASCII; one character at least is neither a blank nor a hyphen.
SERIAL_PATTERN = r"^[ -~]*[!-,.-~][ -~]*$"
_SERIAL = re.compile(SERIAL_PATTERN)

# As typed or scanned, with blanks and hyphens between the digits.
IMEI_LENGTH_MAX = 40
IMEI_PATTERN = r"^[ -]*([0-9][ -]*){15}$"

_SEPARATORS = str.maketrans("", "", " -")


def without_separators(text: str) -> str:
    """The text without blanks and hyphens."""
    return text.translate(_SEPARATORS)


def folded_serial(serial_no: str) -> str:
    """The spelling by which serial numbers are compared: no blanks, no hyphens, upper case. Two
    that differ only in these are one piece. The letter O and the digit 0 differ. The SQL function
    of this name is the same (migration 0018)."""
    return without_separators(serial_no).upper()


def serial_spellings(serial_no: str) -> tuple[str, ...]:
    """The spellings that the ledger holds for a piece: the folded one and, where it differs, the
    one that release 0.1.0 compares."""
    plain = serial_no.upper()
    if "-" not in plain and " " not in plain:
        return (plain,)
    return (without_separators(plain), plain)


def is_vin(serial_no: str) -> bool:
    vin = folded_serial(serial_no)
    return bool(VIN_FORMAT.fullmatch(vin) and Vin(vin).verify_checksum(check_year=False))


def is_e_bike_code(serial_no: str) -> bool:
    return E_BIKE_CODE.fullmatch(folded_serial(serial_no)) is not None


def _serial(value: str) -> str:
    if len(value) > SERIAL_LENGTH_MAX or not _SERIAL.fullmatch(value):
        raise PydanticCustomError("serial", "not a serial number: 1 to 64 printable characters")
    return value.strip(" ")


def _imei(value: str) -> str:
    digits = without_separators(value) if len(value) <= IMEI_LENGTH_MAX else ""
    is_imei = len(digits) == 15 and digits.isascii() and digits.isdigit() and luhn.is_valid(digits)
    # 000000000000000 has a good check digit. Phones without an IMEI of their own show it.
    if not is_imei or len(set(digits)) == 1:
        raise PydanticCustomError("imei", "not an IMEI: 15 digits with a check digit (Luhn)")
    return digits


def _gtin(value: str) -> str:
    if len(value) not in (8, 12, 13, 14) or not ean.is_valid(value):
        raise PydanticCustomError("gtin", "not a GTIN: 8, 12, 13 or 14 digits, one a check digit")
    return value


_SERIAL_SCHEMA = WithJsonSchema(
    {"type": "string", "minLength": 1, "maxLength": SERIAL_LENGTH_MAX, "pattern": SERIAL_PATTERN}
)

# As typed, without blanks at its ends. The JSON of a model is what fingerprints are made of, and
# 0.1.0 wrote a serial number there in upper case.
Serial = Annotated[
    str,
    AfterValidator(_serial),
    PlainSerializer(str.upper, return_type=str, when_used="json"),
    _SERIAL_SCHEMA,
]
# The same in upper case: an old vehicle's number, which is digested.
UpperSerial = Annotated[
    str, AfterValidator(_serial), AfterValidator(lambda value: value.upper()), _SERIAL_SCHEMA
]
# The 15 digits alone.
Imei = Annotated[
    str,
    AfterValidator(_imei),
    WithJsonSchema({"type": "string", "maxLength": IMEI_LENGTH_MAX, "pattern": IMEI_PATTERN}),
]
Gtin = Annotated[str, StringConstraints(pattern=r"^[0-9]{8,14}$"), AfterValidator(_gtin)]
