"""What a cell says, without what spreadsheets and platforms put around it."""

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

# Ten billion yuan: above every sum of a row, and exact everywhere.
AMOUNT_MAX_FEN = 10**12
assert AMOUNT_MAX_FEN >= 10**11, "Bug! An amount of 12 characters is read without this bound."
# From here on a double does not hold every whole number: a key of 16 digits may be another one.
EXACT_MAX = 2**53

# What spreadsheets show where a formula failed.
ERRORS = frozenset(
    {
        "#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#GETTING_DATA",
        "#SPILL!", "#CALC!", "#FIELD!", "#BLOCKED!", "#UNKNOWN!", "#BUSY!", "#CONNECT!",
    }
)  # fmt: skip
# Blanks that str.strip leaves: zero-width ones and a byte order mark.
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
# A sign in front that keeps a spreadsheet from computing or rounding.
GUARDS = "'`"

_AMOUNT = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?", re.ASCII)
_PLAIN_AMOUNT = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_FORMULA_TEXT = re.compile(r'="(.*)"', re.DOTALL)
_ESCAPED_LINE_END = re.compile("_x000[DA]_")
_SCIENTIFIC = re.compile(r"\d(\.\d+)?[Ee]\+\d+", re.ASCII)


def text_of(cell: Any) -> str:
    """A cell as text: without blanks of any kind at its ends, and without a guard."""
    if isinstance(cell, str) and cell.replace("-", "").isalnum():
        return cell  # as most are: nothing surrounds it
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    text = _trimmed(_ESCAPED_LINE_END.sub("\n", str(cell)))
    if guarded := _FORMULA_TEXT.fullmatch(text):
        text = guarded[1].replace('""', '"')
    elif text[:1] in GUARDS:
        text = text[1:]
    return _trimmed(text)


def _trimmed(text: str) -> str:
    while (shorter := text.strip().strip(INVISIBLE)) != text:
        text = shorter
    return text


def is_error(cell: Any) -> bool:
    """Whether a formula failed here."""
    return isinstance(cell, str) and "#" in cell and text_of(cell).upper() in ERRORS


def has_lost_digits(cell: Any) -> bool:
    """Whether a spreadsheet took this identifier for a number and dropped some of its digits."""
    if isinstance(cell, bool):
        return False
    if isinstance(cell, int | float):
        return abs(cell) >= EXACT_MAX
    if not isinstance(cell, str) or "+" not in cell:
        return False
    return _SCIENTIFIC.fullmatch(text_of(cell)) is not None


def fen_of(cell: Any, *, in_yuan: bool) -> int | None:
    """The amount in fen, exactly; None if it is none."""
    if isinstance(cell, str) and in_yuan and cell[-3:-2] == "." and len(cell) < 13:
        digits = cell[:-3] + cell[-2:]
        if digits.isdecimal() and digits.isascii():  # as most are written: 1199.80
            return int(digits)
    if isinstance(cell, bool):
        return None
    try:
        if isinstance(cell, float):
            value = round(Decimal(repr(cell)), 6)  # a sheet's 119.80000000000001
        else:
            value = Decimal(_amount_text(cell))
    except (InvalidOperation, ValueError):
        return None
    fen = value * 100 if in_yuan else value
    if not fen.is_finite() or abs(fen) > AMOUNT_MAX_FEN or fen != fen.to_integral_value():
        return None
    return int(fen)


def yuan_fen(cell: Any) -> int | None:
    """As `fen_of`, for an amount in yuan."""
    return fen_of(cell, in_yuan=True)


def _amount_text(cell: Any) -> str:
    """Raises ValueError where the cell does not write an amount."""
    if isinstance(cell, str) and _PLAIN_AMOUNT.fullmatch(cell):
        return cell
    text = text_of(cell)
    sign = "-" if text.startswith(("-¥", "-￥")) else ""
    text = sign + text.lstrip("-" if sign else "").lstrip("¥￥ ").removesuffix("元").rstrip()
    if not _AMOUNT.fullmatch(text):
        raise ValueError("not an amount")
    return text.replace(",", "")
