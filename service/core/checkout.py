"""A checkout as the till states it: the body of quotes and claims, validated.

Everything that can be judged without a policy, a store or a clock is judged
here: types, lengths, check digits. What the rules say of it is in `rules`.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetPydanticSchema,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from stdnum.cn import ric

from service.core.calendar import parse_day, parse_instant
from service.core.identifiers import (
    VIN_FORMAT,
    Gtin,
    Imei,
    Serial,
    UpperSerial,
    folded_serial,
    is_e_bike_code,
    is_vin,
    serial_spellings,
)

# Dearer than any car on sale (100 million yuan): a price above it is a slip of the hand,
# and sums of 20 lines stay far inside what JSON, Lua and bigint hold exactly.
PRICE_MAX_FEN = 10_000_000_000
ITEMS_MAX = 20

# What the serial number of a category's goods must be: a VIN (GB 16735), the code of a new e-bike,
# or anything printable. Policy files say it of their categories (`rules/serial.py`); a validation
# gets it as its context, a mapping by category.
SerialFormat = Literal["vin", "e_bike_code", "any"]
SerialFormats = Mapping[str, SerialFormat]

ID_FORMATS = {
    "resident_id": re.compile(r"\d{17}[\dX]"),
    # HA and MA: permits of residents who are not Chinese citizens, issued since July 2024.
    "hk_macao_permit": re.compile(r"[HM](\d{8}|A\d{7})(\d{2})?"),
    "taiwan_permit": re.compile(r"\d{8}|\d{10}[A-Z]?"),
    "passport": re.compile(r"[A-Z0-9]{5,17}"),
}


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError:
        raise PydanticCustomError("instant", "not an instant (RFC 3339)") from None


def _instant_text(instant: datetime) -> str:
    # Part of the fingerprints that the ledger keeps: not to be changed.
    return instant.isoformat().replace("+00:00", "Z")


def _instant_schema(source: object, handler: object) -> CoreSchema:
    # Not pydantic's own reading of a datetime, which takes "1750212000" for one.
    return core_schema.no_info_after_validator_function(
        _instant,
        core_schema.str_schema(strict=True, max_length=40),
        serialization=core_schema.plain_serializer_function_ser_schema(_instant_text),
    )


def _day(text: object) -> date:
    try:
        return parse_day(str(text))
    except ValueError:
        raise PydanticCustomError("day", "not a day (RFC 3339)") from None


def _day_schema(source: object, handler: object) -> CoreSchema:
    # Not pydantic's own reading of a date, which takes "1614556800" for one.
    return core_schema.no_info_plain_validator_function(
        _day, serialization=core_schema.plain_serializer_function_ser_schema(date.isoformat)
    )


# No control characters, and so no NUL, which PostgreSQL cannot store; and not blank.
Text = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=120,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u3000]"
        r"[^\x00-\x1f\x7f-\x9f]*$",
    ),
]
StoreId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
Category = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
IdNumber = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9]{5,20}$"), AfterValidator(lambda v: v.upper())
]
Instant = Annotated[
    datetime,
    GetPydanticSchema(_instant_schema),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Day = Annotated[
    date,
    GetPydanticSchema(_day_schema),
    WithJsonSchema({"type": "string", "format": "date"}),
]
EnergyGrade = Literal["1", "2", "3", "4", "5", "none"]
IdType = Literal["resident_id", "hk_macao_permit", "taiwan_permit", "passport"]


def is_absent(fact: object) -> bool:
    return fact is None


class Strict(BaseModel):
    """No coercion ("100" is not 100) and no field that we would silently ignore."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Consumer(Strict):
    """Who buys. The number is never stored or logged in clear."""

    id_type: IdType
    id_number: IdNumber = Field(repr=False, description="18 characters for a resident ID")

    @field_validator("id_number")
    @classmethod
    def _number_fits_type(cls, value: str, info: ValidationInfo) -> str:
        id_type = info.data.get("id_type")
        if id_type is None:  # already refused
            return value
        if not ID_FORMATS[id_type].fullmatch(value):
            raise PydanticCustomError("id_format", "does not fit id_type")
        if id_type == "resident_id":
            _birth_on(value)
            # Not ric.validate: it refuses people born before their county had its code.
            if ric.calc_check_digit(value) != value[-1]:
                raise PydanticCustomError("id_check_digit", "wrong check digit (GB 11643)")
        return value

    def birth_on(self) -> date | None:
        """The day of birth; None where the document does not say."""
        return _birth_on(self.id_number) if self.id_type == "resident_id" else None


def _birth_on(resident_id: str) -> date:
    # The number fits the format already; ric.get_birth_date would clean each character again.
    try:
        return date(int(resident_id[6:10]), int(resident_id[10:12]), int(resident_id[12:14]))
    except ValueError:
        raise PydanticCustomError("id_birth_date", "no valid date of birth") from None


class TradeIn(Strict):
    """The old vehicle that is handed in."""

    kind: Literal["car", "e_bike"]
    serial_no: UpperSerial = Field(description="the old VIN (by format) or frame number")
    document_no: Text | None = Field(None, description="transfer or scrapping paper")
    owned_since: Day | None = Field(None, description="cars: in the buyer's own name since")

    @field_validator("serial_no")
    @classmethod
    def _vin_for_a_car(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("kind") == "car" and not VIN_FORMAT.fullmatch(folded_serial(value)):
            raise PydanticCustomError("old_vin", "not a VIN")
        return value


class ItemFacts(Strict):
    """Facts of an item that only some rules read. They are kept together with the claim's line, so
    a new one is a field here and needs no migration."""

    area_dm2: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        exclude_if=is_absent,
        description="renovated room, in square decimetres: 650 is 6.5 m²",
    )

    def facts(self) -> dict[str, int | str]:
        """Those that were given, by name, and what else the line keeps with them."""
        # Not model_fields, which is a property of pydantic's: this is asked for each line.
        return {name: fact for name in FACTS if (fact := getattr(self, name)) is not None}


FACTS = tuple(ItemFacts.model_fields)
_LINE_FACTS = frozenset((*FACTS, "imei2"))


class Item(ItemFacts):
    """One piece of goods; one line of the claim."""

    line_no: int = Field(ge=1, le=999)
    category: Category
    price_fen: int = Field(
        gt=0, le=PRICE_MAX_FEN, description="final price after the merchant's discounts, in fen"
    )
    serial_no: Serial = Field(
        description="SN; VIN for a car; frame number for an e-bike. Kept as typed, and compared"
        " without hyphens, blanks and case"
    )
    energy_grade: EnergyGrade | None = None
    imei: Imei | None = Field(None, description="15 digits; hyphens and blanks are taken off")
    barcode: Gtin | None = Field(None, description="GTIN")
    brand: Text | None = None
    model: Text | None = None
    trade_in: TradeIn | None = None
    imei2: Imei | None = Field(
        None, exclude_if=is_absent, description="the second IMEI of a phone with two"
    )

    @field_validator("serial_no")
    @classmethod
    def _as_the_policy_says(cls, value: str, info: ValidationInfo) -> str:
        formats: SerialFormats = info.context or {}
        serial_format = formats.get(info.data.get("category", ""))
        if serial_format == "vin" and not is_vin(value):
            raise PydanticCustomError("vin", "not a VIN with a good check digit")
        if serial_format == "e_bike_code" and not is_e_bike_code(value):
            raise PydanticCustomError("e_bike_code", "not the code of a new e-bike")
        return value

    @field_validator("imei2")
    @classmethod
    def _another_imei(cls, value: str | None, info: ValidationInfo) -> str | None:
        # An imei that is refused already is not in the data.
        if value is not None and "imei" in info.data and info.data["imei"] in (None, value):
            raise PydanticCustomError("imei2", "not a second IMEI")
        return value

    def facts(self) -> dict[str, int | str]:
        if self.model_fields_set.isdisjoint(_LINE_FACTS):  # most items; asked for each line
            return {}
        facts = super().facts()
        return facts if self.imei2 is None else {**facts, "imei2": self.imei2}

    def serials(self) -> tuple[str, ...]:
        """The numbers under which this piece may be subsidised only once, each once."""
        spellings = serial_spellings(self.serial_no)
        if self.imei is None:
            return spellings
        imeis = (self.imei,) if self.imei2 is None else (self.imei, self.imei2)
        return tuple(dict.fromkeys((*spellings, *imeis)))


# The law of the fingerprint: a body's JSON, as this model writes it, is what the ledger digests to
# tell a repeat from another body (`people/digests.py`), and claims live longer than a release. So
# the fields of 0.1.0 stay in their order, nulls included, and a field that is added later is
# optional, defaults to None and is left out while it is None: `Field(None, exclude_if=is_absent)`.
# Then a body without it has the digest that it has always had, in this release and the former
# one. tests/claims/test_fingerprint.py pins the digests.
class Checkout(Strict):
    """What a till sends for a quote or a claim."""

    store_id: StoreId
    order_no: Text
    sold_at: Instant = Field(description="RFC 3339; decides the policy in force")
    consumer: Consumer
    items: tuple[Item, ...] = Field(min_length=1, max_length=ITEMS_MAX)
    hold: bool = Field(False, description="reserve now, confirm or cancel later")
    invoice_no: Text | None = None
    delivery_region: Text | None = None

    @model_validator(mode="after")
    def _each_line_once(self) -> Self:
        if len({item.line_no for item in self.items}) != len(self.items):
            raise PydanticCustomError("duplicate_line_no", "line_no must differ from item to item")
        return self
