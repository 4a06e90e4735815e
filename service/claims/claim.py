"""A claim: while it is decided, and as the API returns it."""

from contextvars import Context
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from service.core.calendar import SHANGHAI
from service.core.checkout import Checkout
from service.core.quote import LineQuote, Quote
from service.core.value import value

ClaimState = Literal["reserved", "confirmed", "cancelled", "expired"]
ClaimLineState = Literal["reserved", "confirmed", "cancelled", "expired", "refunded"]

QuotaKey = tuple[bytes, str, str]  # subject (a digest), quota, period


@value
class Seller:
    """The store a claim comes from, and the retailer it belongs to."""

    retailer_id: str
    store_id: str


@value
class SellerStanding:
    """A store, and why it may not sell under the subsidy now; empty if it may."""

    seller: Seller
    barred: Literal["", "unknown", "suspended", "retailer_suspended"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to commit a claim under an idempotency key. It is fenced when it is given up."""

    retailer_id: str
    idempotency_key: str
    claim_id: UUID


@value
class QuotaBooking:
    """What a line takes of one person's or vehicle's quota. `subject` is a keyed digest of 16 bytes
    (17 from the second key on)."""

    subject: bytes
    kind: Literal["person", "trade_in"]
    quota: str
    period: str
    amount: int  # in `unit`, like `limit`
    limit: int
    unit: Literal["items", "fen"]
    restored: bool  # whether a refund gives it back

    @property
    def key(self) -> QuotaKey:
        return (self.subject, self.quota, self.period)


@value
class LineDemand:
    """What an eligible line takes: money, its serials, quotas. A quota that is booked under two
    digests is there twice."""

    line_no: int
    pool: str
    subsidy_fen: int
    serials: tuple[str, ...]
    quotas: tuple[QuotaBooking, ...]


@dataclass(frozen=True, slots=True)
class Footprint:
    """The serials and quotas that lines of a claim have taken. Each quota has its line number."""

    claim_id: UUID
    serials: tuple[str, ...]
    quotas: tuple[tuple[int, QuotaKey], ...]


@dataclass(slots=True, eq=False)
class PendingClaim:
    """A priced checkout on its way through the gate to the ledger. Every line is eligible.
    `context`: the request's, for an observer; None without one."""

    claim_id: UUID
    seller: Seller
    idempotency_key: str
    fingerprint: bytes
    consumer_digest: bytes
    checkout: Checkout
    quote: Quote
    lines: tuple[LineDemand, ...]
    created_at: datetime
    expires_at: datetime | None  # when a hold ends; None: confirmed at once
    context: Context | None = None

    @property
    def attempt(self) -> Attempt:
        return Attempt(self.seller.retailer_id, self.idempotency_key, self.claim_id)

    @property
    def state(self) -> Literal["reserved", "confirmed"]:
        return "confirmed" if self.expires_at is None else "reserved"

    def footprint(self) -> Footprint:
        return Footprint(
            self.claim_id,
            tuple(serial for line in self.lines for serial in line.serials),
            tuple((line.line_no, quota.key) for line in self.lines for quota in line.quotas),
        )

    def fen_by_pool(self) -> dict[str, int]:
        sums: dict[str, int] = {}
        for line in self.lines:
            sums[line.pool] = sums.get(line.pool, 0) + line.subsidy_fen
        return sums

    def as_answered(self) -> "Claim":
        """The claim as the till gets it. Valid once the ledger has it."""
        return Claim(
            claim_id=self.claim_id,
            state=self.state,
            store_id=self.seller.store_id,
            order_no=self.checkout.order_no,
            policy=self.quote.policy or "",
            sold_at=self.checkout.sold_at.astimezone(SHANGHAI),
            created_at=self.created_at.astimezone(SHANGHAI),
            expires_at=self.expires_at and self.expires_at.astimezone(SHANGHAI),
            price_fen=self.quote.price_fen,
            subsidy_fen=self.quote.subsidy_fen,
            payable_fen=self.quote.payable_fen,
            lines=tuple(
                [
                    ClaimLine.of(line, self.state)
                    for line in sorted(self.quote.lines, key=lambda line: line.line_no)
                ]
            ),
        )


@value
class ClaimLine:
    """One line of a claim as the API returns it. Amounts in fen, the rate in basis points."""

    line_no: int
    category: str
    price_fen: int
    rate_bp: int | None
    cap_fen: int
    subsidy_fen: int
    payable_fen: int
    pool: str
    state: ClaimLineState

    @classmethod
    def of(cls, line: LineQuote, state: ClaimLineState) -> "ClaimLine":
        assert line.cap_fen is not None and line.pool is not None, "Bug! Not an eligible line."
        return cls(
            line_no=line.line_no,
            category=line.category,
            price_fen=line.price_fen,
            rate_bp=line.rate_bp,
            cap_fen=line.cap_fen,
            subsidy_fen=line.subsidy_fen,
            payable_fen=line.payable_fen,
            pool=line.pool,
            state=state,
        )


@value
class Claim:
    """A claim as the API returns it: instants in Asia/Shanghai, amounts in fen, no ID number."""

    claim_id: UUID
    state: ClaimState
    store_id: str
    order_no: str
    policy: str
    sold_at: datetime
    created_at: datetime
    expires_at: datetime | None
    price_fen: int
    subsidy_fen: int
    payable_fen: int
    lines: tuple[ClaimLine, ...]

    def as_first_answered(self) -> "Claim":
        """The same claim in the state of its first answer, which a replay repeats."""
        first: Literal["reserved", "confirmed"] = "reserved" if self.expires_at else "confirmed"
        return replace(
            self,
            state=first,
            lines=tuple(replace(line, state=first) for line in self.lines),
        )
