"""From a priced checkout to what it takes: serials, quotas, money."""

from datetime import datetime, timedelta

from uuid_utils.compat import uuid7

from service.claims.claim import LineDemand, PendingClaim, QuotaBooking, Seller
from service.claims.people.digests import Digester
from service.core.checkout import Checkout, Item
from service.core.quote import LineQuote, QuotaUse, Quote


def pending_claim(
    seller: Seller,
    idempotency_key: str,
    fingerprint: bytes,
    checkout: Checkout,
    priced: Quote,
    now: datetime,
    *,
    hold_for: timedelta,
    digester: Digester,
) -> PendingClaim:
    """The claim of a checkout that the rules allow. `hold_for`: how long a hold is reserved."""
    person = digester.person(checkout.consumer)
    return PendingClaim(
        claim_id=uuid7(nanoseconds=round(now.timestamp() * 1000) * 1_000_000),
        seller=seller,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        consumer_digest=person[-1],
        checkout=checkout,
        quote=priced,
        lines=line_demands(checkout, priced, person, digester),
        created_at=now,
        expires_at=now + hold_for if checkout.hold else None,
    )


def line_demands(
    checkout: Checkout, quote: Quote, person: tuple[bytes, ...], digester: Digester
) -> tuple[LineDemand, ...]:
    """What the eligible lines take, in the checkout's order. `person`: the buyer's digests."""
    items = {item.line_no: item for item in checkout.items}
    return tuple(
        [
            _demand(line, items[line.line_no], person, digester)
            for line in quote.lines
            if not line.reasons
        ]
    )


def _demand(
    line: LineQuote, item: Item, person: tuple[bytes, ...], digester: Digester
) -> LineDemand:
    assert line.pool is not None, "Bug! An eligible line has a pool."
    return LineDemand(
        line_no=line.line_no,
        pool=line.pool,
        subsidy_fen=line.subsidy_fen,
        serials=item.serials(),
        quotas=tuple(
            [
                _booking(use, subject)
                for use in line.quotas
                for subject in _subjects(use, item, person, digester)
            ]
        ),
    )


def _subjects(
    use: QuotaUse, item: Item, person: tuple[bytes, ...], digester: Digester
) -> tuple[bytes, ...]:
    if use.subject == "person":
        return person
    assert item.trade_in is not None, "Bug! The rules let in a line without its old vehicle."
    return digester.vehicle(item.trade_in.serial_no)


def _booking(use: QuotaUse, subject: bytes) -> QuotaBooking:
    return QuotaBooking(
        subject=subject,
        kind=use.subject,
        quota=use.quota,
        period=use.period,
        amount=use.amount,
        limit=use.limit,
        unit=use.unit,
        restored=use.restored,
    )
