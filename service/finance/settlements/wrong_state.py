"""Why the state of a settlement does not allow an action, and what to do instead."""

from typing import Literal

from service.core.sentences import Sentence

SettlementAction = Literal["approve", "pay", "void"]

VOIDED = Sentence(
    "该结算单已作废，其分录可重新结算；请另行编制。",
    "This settlement was voided, and its entries are free: draft another.",
)
WRONG_STATE_SENTENCES: dict[tuple[SettlementAction, str], Sentence] = {
    ("approve", "approved"): Sentence(
        "该结算单已由另一把密钥审核，无需再审；可登记付款（pay）。",
        "Another key has approved this settlement: it can be paid.",
    ),
    ("approve", "paid"): Sentence(
        "该结算单已付款，无需再审核。",
        "This settlement is paid: there is nothing to approve.",
    ),
    ("approve", "voided"): VOIDED,
    ("pay", "drafted"): Sentence(
        "该结算单尚未审核，请先用另一把财政密钥审核（approve）。",
        "This settlement is a draft: approve it first, with another finance key.",
    ),
    # The approval committed between the update and the read.
    ("pay", "approved"): Sentence(
        "该结算单刚刚通过审核，请重试付款登记。",
        "This settlement was approved just now: note its payment again.",
    ),
    ("pay", "paid"): Sentence(
        "该结算单已付款，登记的付款凭证号与此不同，请核对。",
        "This settlement is paid, with another payment reference: check yours.",
    ),
    ("pay", "voided"): VOIDED,
    ("void", "approved"): Sentence(
        "该结算单已审核，不能作废；此后的退货将在下一张结算单中扣回。",
        "This settlement is approved and can no longer be voided: what comes back from now on is "
        "clawed back in the next.",
    ),
    ("void", "paid"): Sentence(
        "该结算单已付款，不能作废；此后的退货将在下一张结算单中扣回。",
        "This settlement is paid and can no longer be voided: what comes back from now on is "
        "clawed back in the next.",
    ),
    ("void", "voided"): Sentence(
        "该结算单已由另一把密钥作废，无需再作废。",
        "Another key has voided this settlement: there is nothing to void.",
    ),
}
