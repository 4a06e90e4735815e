"""A settlement, who acts on it, and what can come of an act."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from service.core.money import yuan
from service.core.sentences import Sentence
from service.finance.settlements.wrong_state import WRONG_STATE_SENTENCES, SettlementAction

ALL_UNINVOICED = Sentence(
    "该企业在此期间没有可结算的分录；另有 {claims} 笔、补贴 {fen} 元尚未开票，请待企业补录发票。",
    "The retailer has no entry to settle in that period. {claims} of its claims, with {fen} yuan "
    "of subsidy, lack an invoice: wait for its invoices.",
)

SettlementState = Literal["drafted", "approved", "paid", "voided"]


@dataclass(frozen=True, slots=True)
class Settlement:
    """Amounts in fen. Refunds and claw-backs are negative. `advanced_fen` was paid before and is
    deducted. If `net_fen` is negative, the retailer owes it. `uninvoiced_claims` were left out at
    the draft, since they or some of their lines had no invoice; `uninvoiced_fen` is their subsidy.
    Both are null in drafts of release 0.1.0."""

    settlement_id: UUID
    retailer_id: str
    kind: Literal["final", "advance"]
    from_on: date
    to_on: date
    state: SettlementState
    entries: int
    granted_fen: int
    refunded_fen: int
    clawed_back_fen: int
    advanced_fen: int
    net_fen: int
    drafted_by: str
    drafted_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    paid_by: str | None
    paid_at: datetime | None
    payment_reference: str | None
    netted_in: UUID | None
    voided_by: str | None = None
    voided_at: datetime | None = None
    void_reason: str | None = None
    uninvoiced_claims: int | None = None
    uninvoiced_fen: int | None = None


@dataclass(frozen=True, slots=True)
class SettlementActor:
    """The key that acts, and when."""

    key_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SettlementPeriod:
    """A retailer's grants booked from `from_on` to `to_on`, both inclusive."""

    retailer_id: str
    from_on: date
    to_on: date


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Claims without an invoice, and their subsidy in fen."""

    claims: int
    fen: int


@dataclass(frozen=True, slots=True)
class NoSuchRecord:
    """There is no such retailer or settlement."""


@dataclass(frozen=True, slots=True)
class NothingToSettle:
    """The period has no entry that is due, or the sum to advance is not positive. `left_out` has
    what is due but for an invoice."""

    left_out: LeftOut

    def why(self) -> Sentence | None:
        """The claims that only lack an invoice, if there are some."""
        if not self.left_out.claims:
            return None
        facts = {"claims": str(self.left_out.claims), "fen": yuan(self.left_out.fen)}
        return Sentence(*(text.format(**facts) for text in ALL_UNINVOICED))


@dataclass(frozen=True, slots=True)
class AdvanceOutstanding:
    """The retailer has an advance that no settlement has netted."""


@dataclass(frozen=True, slots=True)
class AdvanceTooLarge:
    """Less than the advance is due by now."""


@dataclass(frozen=True, slots=True)
class RetailerSuspended:
    """Nothing is approved for a suspended retailer."""


@dataclass(frozen=True, slots=True)
class SameKey:
    """The key that drafted a settlement may not approve it."""


@dataclass(frozen=True, slots=True)
class WrongSettlementState:
    """The state of the settlement does not allow the action."""

    action: SettlementAction
    state: SettlementState

    def why(self) -> Sentence:
        """The reason, and what to do instead."""
        return WRONG_STATE_SENTENCES[self.action, self.state]


DraftOutcome = Settlement | NoSuchRecord | NothingToSettle | AdvanceOutstanding
ApproveOutcome = (
    Settlement | NoSuchRecord | SameKey | WrongSettlementState | RetailerSuspended | AdvanceTooLarge
)
PayOutcome = Settlement | NoSuchRecord | WrongSettlementState
VoidOutcome = PayOutcome | AdvanceOutstanding
SettlementOutcome = DraftOutcome | ApproveOutcome | VoidOutcome
