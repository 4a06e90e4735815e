"""Sentences for a till whose request needs a claim in another state."""

from typing import Literal

from service.core.sentences import Language, Sentence

Wish = Literal["confirm", "cancel", "refund", "invoice"]

EXPIRED = Sentence(
    "冻结已过期，补贴已退回预算；请用新的幂等键重新申领。",
    "The hold has expired and its money is back in the budget: claim again with a new "
    "Idempotency-Key.",
)
CANCELLED = Sentence(
    "该笔已取消，补贴已退回预算；如仍需补贴，请用新的幂等键重新申领。",
    "This claim was cancelled and its money is back in the budget: if the sale goes on, claim "
    "again with a new Idempotency-Key.",
)
HELD = Sentence(
    "该笔尚在冻结中，请先确认（confirm）；不再需要则取消（cancel）。",
    "This claim is still held: confirm it first, or cancel it if it is not wanted.",
)
INVOICE_SETTLED = Sentence(
    "该发票已列入结算单，不能更换；如须更换，请财政先作废该结算草稿（已审核的不能作废）。",
    "A settlement has this invoice, so it cannot be replaced: void the settlement's draft first; "
    "one that is approved stays.",
)
LINES_INVOICED = Sentence(
    "第 {lines} 行已列在发票 {number} 上；请核对行号，或先填报冲红该发票的红字发票，"
    "或按正确的行重新填报该发票（已结算的须先作废结算草稿）。",
    "Invoice {number} has line {lines} already. Check the lines. Or take that invoice back with "
    "its red-letter invoice, or file it again with its right lines; if it is settled, void the "
    "draft of the settlement first.",
)
SENTENCES: dict[tuple[Wish, str], Sentence] = {
    ("confirm", "reserved"): EXPIRED,  # past its time, and not swept yet
    ("confirm", "expired"): EXPIRED,
    ("confirm", "cancelled"): CANCELLED,
    ("cancel", "confirmed"): Sentence(
        "该笔已确认，不能取消；如需退回补贴，请办理退款（refunds）。",
        "This claim is confirmed and can no longer be cancelled: refund its lines instead.",
    ),
    # A confirm and a cancel arrived together, and the confirm came after the hold had ended.
    ("cancel", "reserved"): Sentence(
        "该笔同时收到确认与取消，请重试取消。",
        "A confirm and a cancel came at the same moment: cancel again.",
    ),
    ("cancel", "expired"): Sentence(
        "冻结已过期，补贴已退回预算，无需再取消。",
        "The hold has expired and its money is back in the budget: there is nothing to cancel.",
    ),
    ("refund", "reserved"): HELD,
    ("refund", "expired"): EXPIRED,
    ("refund", "cancelled"): CANCELLED,
    ("refund", "confirmed"): Sentence(
        "第 {lines} 行已经退过，请核对行号；同一笔退款重试请使用原来的幂等键。",
        "Line {lines} was refunded before: check the line numbers, and repeat a refund with its "
        "own Idempotency-Key.",
    ),
    ("invoice", "reserved"): HELD,
    ("invoice", "expired"): EXPIRED,
    ("invoice", "cancelled"): CANCELLED,
    ("invoice", "confirmed"): INVOICE_SETTLED,
}


def wrong_state(wish: Wish, state: str, language: Language, lines: tuple[int, ...] = ()) -> str:
    """Why a claim in this state does not allow the request, and what to do."""
    text = SENTENCES[wish, state].in_language(language)
    return text.format(lines=", ".join(map(str, lines)))
