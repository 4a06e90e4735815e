"""Whether an invoice fits its claim, and which of the claim's papers it replaces. Pure.

A claim has one invoice for the whole sale, or several for its lines. A red-letter invoice takes
back one of them: what came back of it, or all of it. A corrected invoice replaces the former one
that has the same lines. All of that holds until a settlement has the invoice; then a red-letter
invoice takes back what came back, and nothing is replaced.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal

from service.claims.claim import Claim, ClaimLine
from service.core.calendar import business_day
from service.core.money import yuan

# A deposit may be invoiced before the goods are handed over.
BEFORE_SALE_MAX = timedelta(days=30)

InvoiceFaultCode = Literal[
    "invoice_before_sale", "no_such_line", "no_such_invoice", "red_letter_too_large",
    "red_letter_before", "taken_back", "not_the_seller", "other_kind",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as issued. `number` and `code` are folded; `code` is empty for a fully digital
    one. The total is in fen, and negative on a red-letter invoice, whose `red_letter_of` is the
    number that it takes back. Without `lines` it is the whole sale's."""

    number: str
    code: str
    dated_on: date
    buyer: str
    total_fen: int
    lines: tuple[int, ...] = ()
    red_letter_of: str = ""
    file_sha256: bytes | None = dataclasses.field(default=None, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.number, self.code

    def of(self, claim: Claim) -> "Invoice":
        """The same invoice of this claim: one that names every line is the whole sale's."""
        every = {line.line_no for line in claim.lines}
        lines = () if set(self.lines) == every else tuple(sorted(self.lines))
        return replace(self, lines=lines)


@dataclass(frozen=True, slots=True)
class InvoicePaper:
    """An invoice on record. `replaced_at`: when a corrected one replaced it."""

    invoice: Invoice
    recorded_at: datetime
    replaced_at: datetime | None


@dataclass(frozen=True, slots=True)
class WrongState:
    """The claim, or one of its lines, is not in the state that the request needs."""

    claim: Claim
    lines: tuple[int, ...] = ()  # those that are no longer confirmed


@dataclass(frozen=True, slots=True)
class WrongTotal:
    """The invoice's total is not what was paid plus the subsidy."""

    paid_fen: int
    subsidy_fen: int
    total_fen: int


@dataclass(frozen=True, slots=True)
class LinesInvoiced:
    """Another invoice of the claim, of this number, has these lines."""

    number: str
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InvoiceFault:
    """A field of the invoice does not fit the claim."""

    field: str
    fault: InvoiceFaultCode
    facts: dict[str, int | str] = dataclasses.field(default_factory=dict)


Objection = InvoiceFault | LinesInvoiced | WrongState | WrongTotal


def current(papers: Sequence[InvoicePaper]) -> list[Invoice]:
    """The invoices that were not replaced."""
    return [paper.invoice for paper in papers if paper.replaced_at is None]


def replaced_by(
    claim: Claim, invoice: Invoice, papers: Sequence[InvoicePaper]
) -> list[Invoice] | Objection:
    """The current invoices that this one replaces, or why it does not fit the claim. `papers`: all
    that were filed for the claim."""
    if claim.state != "confirmed":
        return WrongState(claim)
    if invoice.dated_on < business_day(claim.sold_at) - BEFORE_SALE_MAX:
        return InvoiceFault("date", "invoice_before_sale")
    if invoice.red_letter_of:
        return _replaced_red_letters(claim, invoice, papers)
    known = {line.line_no for line in claim.lines}
    for line_no in invoice.lines:
        if line_no not in known:
            return InvoiceFault("lines", "no_such_line", {"line_no": line_no})
    return _wrong_total(claim, invoice) or _replaced_blue(claim, invoice, papers)


def uninvoiced_lines(claim: Claim, papers: Sequence[InvoicePaper]) -> tuple[int, ...]:
    """The claim's confirmed lines that no current invoice has."""
    blue = [one for one in current(papers) if not one.red_letter_of]
    invoiced = {line.line_no for one in blue for line in _covered(claim, one)}
    return tuple(
        line.line_no
        for line in claim.lines
        if line.state == "confirmed" and line.line_no not in invoiced
    )


def red_letter_missing_fen(claim: Claim, papers: Sequence[InvoicePaper]) -> int:
    """What came back, is still in a current invoice, and has no red-letter invoice yet."""
    return sum(
        max(0, _left_fen(one, papers) - _kept_fen(claim, one))
        for one in current(papers)
        if not one.red_letter_of
    )


def _replaced_blue(
    claim: Claim, invoice: Invoice, papers: Sequence[InvoicePaper]
) -> list[Invoice] | InvoiceFault | LinesInvoiced:
    """The former invoice of the same lines, and the former version of the same invoice."""
    if _left_fen(invoice, papers) < _kept_fen(claim, invoice):
        return InvoiceFault("number", "taken_back")
    lines = {line.line_no for line in _covered(claim, invoice)}
    replaced = []
    for one in current(papers):
        if one.red_letter_of:
            continue
        shared = lines & {line.line_no for line in _covered(claim, one)}
        if one.key == invoice.key or (shared and one.lines == invoice.lines):
            replaced.append(one)
        elif shared:
            return LinesInvoiced(one.number, tuple(sorted(shared)))
    return replaced


def _replaced_red_letters(
    claim: Claim, invoice: Invoice, papers: Sequence[InvoicePaper]
) -> list[Invoice] | InvoiceFault:
    """A red-letter invoice takes back what came back of an invoice of the claim, or all of it: then
    it replaces it. One that would take back more is a correction of the only one of its total."""
    blue = {p.invoice.number: p for p in papers if not p.invoice.red_letter_of}
    taken_back = blue.get(invoice.red_letter_of)
    if taken_back is None:
        return InvoiceFault("red_letter_of", "no_such_invoice")
    if invoice.dated_on < taken_back.invoice.dated_on:
        return InvoiceFault("date", "red_letter_before")
    same = [one for one in current(papers) if one.key == invoice.key]
    if same:  # other facts of the same paper
        papers = [paper for paper in papers if paper.invoice.key != invoice.key]
    # A replaced invoice is taken back in full.
    kept_fen = 0 if taken_back.replaced_at else _kept_fen(claim, taken_back.invoice)
    left_fen = _left_fen(taken_back.invoice, papers)
    if left_fen + invoice.total_fen >= kept_fen:
        return same
    equal = [
        one
        for one in current(papers)
        if (one.red_letter_of, one.total_fen) == (invoice.red_letter_of, invoice.total_fen)
    ]
    if len(equal) == 1 and not same:
        return equal
    if left_fen + invoice.total_fen == 0:
        return [taken_back.invoice, *same]
    return InvoiceFault("total_fen", "red_letter_too_large", {"left": yuan(left_fen - kept_fen)})


def _covered(claim: Claim, invoice: Invoice) -> list[ClaimLine]:
    """The lines that the invoice has."""
    return [line for line in claim.lines if not invoice.lines or line.line_no in invoice.lines]


def _kept_fen(claim: Claim, invoice: Invoice) -> int:
    """The price of the invoice's lines that the customer has kept."""
    return sum(line.price_fen for line in _covered(claim, invoice) if line.state == "confirmed")


def _left_fen(invoice: Invoice, papers: Sequence[InvoicePaper]) -> int:
    """The invoice's total less what red-letter invoices took back of it."""
    back = [one for one in current(papers) if one.red_letter_of == invoice.number]
    return invoice.total_fen + sum(one.total_fen for one in back)


def _wrong_total(claim: Claim, invoice: Invoice) -> WrongTotal | None:
    """The sale's own invoice has the lines that came back since. A later one has not."""
    lines = _covered(claim, invoice)
    kept = [line for line in lines if line.state == "confirmed"]
    if invoice.total_fen in (sum(line.price_fen for line in one) for one in (lines, kept)):
        return None
    due = kept or lines
    return WrongTotal(
        sum(line.payable_fen for line in due),
        sum(line.subsidy_fen for line in due),
        invoice.total_fen,
    )
