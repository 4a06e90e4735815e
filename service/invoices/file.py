"""What every kind of invoice file gives."""

from dataclasses import dataclass
from datetime import date

SIZE_MAX_BYTES = 10 << 20
ELEMENTS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class InvoiceFile:
    """What the file of an e-invoice says. `total_fen` includes tax and is negative on a red-letter
    invoice, whose `red_letter_of` is the number of the invoice that it takes back, where the file
    says it. `code`, `buyer_id` and `red_letter_of` are empty where the file has none."""

    number: str
    code: str
    dated_on: date
    buyer: str
    buyer_id: str
    seller_id: str
    total_fen: int
    red_letter_of: str
