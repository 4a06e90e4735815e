"""A settlement for the tests of its papers."""

from datetime import date, datetime
from uuid import UUID

from service.core.calendar import SHANGHAI
from service.finance.settlements.settlement import Settlement

SETTLEMENT = Settlement(
    settlement_id=UUID("019780c3-c9da-76f1-8a29-36f05201f175"),
    retailer_id="sandbox",
    kind="final",
    from_on=date(2025, 6, 1),
    to_on=date(2025, 6, 18),
    state="drafted",
    entries=0,
    granted_fen=0,
    refunded_fen=0,
    clawed_back_fen=0,
    advanced_fen=0,
    net_fen=0,
    drafted_by="key_1",
    drafted_at=datetime(2025, 6, 19, 9, 0, tzinfo=SHANGHAI),
    approved_by=None,
    approved_at=None,
    paid_by=None,
    paid_at=None,
    payment_reference=None,
    netted_in=None,
)
