"""The OFD file (GB/T 33190) of an e-invoice, read by ofdkit.

The library finds the values. What must hold for money is checked here: the amount before tax is
never taken for the total, though it is the only number that some files show.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import TypeVar

import ofdkit

from service.invoices.faults import UnreadableInvoice
from service.invoices.file import ELEMENTS_MAX, SIZE_MAX_BYTES, InvoiceFile
from service.invoices.paper import day_of, fen_of, folded, name_of

Value = TypeVar("Value")

UNPACKED_MAX_BYTES = 50 * 1024 * 1024
MEMBERS_MAX = 1000
PART_TAGS_MAX = 3 * ELEMENTS_MAX
NUMBER = re.compile(r"<(?:\w{1,40}:)?InvoiceNo>([^<]{1,200})<")
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


def read_ofd(content: bytes) -> InvoiceFile:
    """The one invoice in the file. Raises UnreadableInvoice."""
    if len(content) > SIZE_MAX_BYTES:
        raise UnreadableInvoice("too_large")
    _check_container(content)
    try:
        invoice = ofdkit.extract_invoice(content)
    except (ofdkit.OFDError, LookupError, ValueError, *BROKEN_ZIP):
        raise UnreadableInvoice("not_ofd") from None
    if invoice is None:
        raise UnreadableInvoice("unknown_layout")
    return InvoiceFile(
        number=folded(_given(invoice.invoice_number, "InvoiceNo")),
        code=folded(invoice.invoice_code or ""),
        dated_on=_read(day_of, invoice.issue_date, "IssueDate"),
        buyer=_read(name_of, invoice.buyer.name, "BuyerName"),
        buyer_id=folded(invoice.buyer.tax_id or ""),
        seller_id=folded(_given(invoice.seller.tax_id, "SellerTaxID")),
        total_fen=_total_fen(invoice),
        red_letter_of="",
    )


def _check_container(content: bytes) -> None:
    """Refuse what would unpack to more than an invoice has, and several invoices, which the library
    would mix."""
    try:
        package = zipfile.ZipFile(io.BytesIO(content))
        members = package.infolist()
        if len(members) > MEMBERS_MAX or sum(one.file_size for one in members) > UNPACKED_MAX_BYTES:
            raise UnreadableInvoice("too_large")
        parts = [package.read(one) for one in members if one.filename.lower().endswith(".xml")]
    except (*BROKEN_ZIP, ValueError):
        raise UnreadableInvoice("not_ofd") from None
    if sum(part.count(b"<") for part in parts) > PART_TAGS_MAX:
        raise UnreadableInvoice("too_large")
    texts = (part.decode(errors="ignore") for part in parts)
    values = {folded(value) for text in texts for value in NUMBER.findall(text)}
    numbers = {value for value in values if any(map(str.isdigit, value))}
    if len(numbers) > 1:
        raise UnreadableInvoice("several_invoices", "InvoiceNo")


def _total_fen(invoice: ofdkit.Invoice) -> int:
    """The total including tax. Some files show it as a currency sign alone, or give the amount
    before tax for it. Then it is the sum of that and the tax."""
    total_fen, before_tax_fen, tax_fen = map(
        _fen_or_none, (invoice.total_amount, invoice.amount_without_tax, invoice.tax_amount)
    )
    if before_tax_fen is not None and tax_fen and total_fen in (None, before_tax_fen):
        return before_tax_fen + tax_fen
    return _read(fen_of, invoice.total_amount, "TaxInclusiveTotalAmount")


def _fen_or_none(text: str | None) -> int | None:
    try:
        return fen_of(text or "")
    except ValueError:
        return None


def _given(text: str | None, field: str) -> str:
    if not text or not text.strip():
        raise UnreadableInvoice("missing_value", field)
    return text.strip()


def _read(read: Callable[[str], Value], text: str | None, field: str) -> Value:
    try:
        return read(_given(text, field))
    except ValueError:
        raise UnreadableInvoice("bad_value", field) from None
