"""An invoice's number, date and total as papers really spell them, folded to one spelling.

A fully digital invoice (数电票) has a number of 20 digits and no code; the first two digits are
the year of issue. An older one has a number of 8 digits and a code of 10 or 12.
"""

import re
import unicodedata
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Literal

from stdnum.cn import ric, uscc

NumberFault = Literal["invoice_number", "invoice_code_extra", "invoice_code", "invoice_year"]

NAME_MAX = 120

_FULL_NUMBER = re.compile(r"[0-9]{20}")
_SHORT_NUMBER = re.compile(r"[0-9]{8}")
_CODE = re.compile(r"[0-9]{10}|[0-9]{12}")
_DAY = re.compile(
    r"\s*(?:(\d{4})\s*[年/.-]\s*(\d{1,2})\s*[月/.-]\s*(\d{1,2})\s*日?(?![\d])"
    r"|(\d{4})(\d{2})(\d{2})(?:\d{6}(?!\d)|(?!\d)))(?:[T\s]|$)",
    re.ASCII,
)
_PERSON = re.compile(r"[0-9]{17}[0-9X]")
_AMOUNT = re.compile(r"-?\d{1,13}(\.\d{1,2}0*)?", re.ASCII)


def folded(text: str) -> str:
    """A number or code without blanks, in ASCII and upper case: two spellings of one paper are
    equal so."""
    return "".join(unicodedata.normalize("NFKC", text).split()).upper()


def number_fault(number: str, code: str, year: int) -> NumberFault | None:
    """What is wrong with a folded number and code of an invoice of this year, if anything."""
    if _FULL_NUMBER.fullmatch(number):
        if code:
            return "invoice_code_extra"
        return None if int(number[:2]) == year % 100 else "invoice_year"
    if _SHORT_NUMBER.fullmatch(number):
        return None if _CODE.fullmatch(code) else "invoice_code"
    return "invoice_number"


def day_of(text: str) -> date:
    """The day that begins a date or an instant as files write them: 2025-06-18, 20250618,
    2025年06月18日, 2025-06-18 10:00:00. Raises ValueError."""
    day = _DAY.match(unicodedata.normalize("NFKC", text))
    if day is None:
        raise ValueError("not a day")
    return date(*(int(part) for part in day.groups() if part is not None))


def fen_of(text: str) -> int:
    """Yuan as files write them, in fen: 1199.80, ¥1,199.80, -0.50. Raises ValueError for what is
    no amount, or has a part of a fen."""
    plain = folded(text).lstrip("¥").replace(",", "")
    if plain.startswith("-¥"):
        plain = "-" + plain[2:]
    if not _AMOUNT.fullmatch(plain):
        raise ValueError("not an amount in yuan")
    try:
        fen = Decimal(plain) * 100
    except InvalidOperation:
        raise ValueError("not an amount in yuan") from None
    return int(fen)


def is_company(tax_id: str) -> bool:
    """Whether a buyer's number is a company's (GB 32100), and not a person's (GB 11643)."""
    person = _PERSON.fullmatch(tax_id) and ric.calc_check_digit(tax_id) == tax_id[-1]
    return not person and uscc.is_valid(tax_id)


def name_of(text: str) -> str:
    """A name as files write it, in one line. Raises ValueError."""
    name = " ".join(text.split())
    if not name.isprintable() or len(name) > NAME_MAX:
        raise ValueError("not a name")
    return name
