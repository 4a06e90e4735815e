"""What programmers of a till and of the finance office write with the generated Python client. It
runs with the generator's own interpreter.

python use.py FOLDER_OF_THE_CLIENT BASE_URL KEY_OF_A_TILL KEY_OF_FINANCE
"""

import sys
from datetime import date
from io import BytesIO
from pathlib import Path

folder, base_url, till_key, finance_key = sys.argv[1:]
sys.path.insert(0, str(Path(folder).parent))

from client import AuthenticatedClient  # noqa: E402
from client.api.claims import (  # noqa: E402
    confirm_claim,
    create_claim,
    list_claims,
    read_claim,
    read_claim_by_key,
    refund_claim,
)
from client.api.finance import (  # noqa: E402
    draft_settlement,
    journal_totals,
    read_reconciliation,
    reconcile,
    void_settlement,
)
from client.models import (  # noqa: E402
    Checkout,
    Claim,
    ClaimPage,
    Problem,
    Refund,
    RefundRequest,
    SettlementBody,
    Totals,
    VoidBody,
)
from client.types import File  # noqa: E402

PERIOD = {"from_": date(2025, 6, 1), "to": date(2025, 6, 30)}


def sale(n: int, **more: object) -> Checkout:
    item = {
        "line_no": 1,
        "category": "air_conditioner",
        "price_fen": 599900,
        "energy_grade": "1",
        "serial_no": f"AC{n}",
    }
    return Checkout.from_dict(
        {
            "store_id": "NH0001",
            "order_no": f"O{n}",
            "sold_at": "2025-06-18T10:00:00+08:00",
            "consumer": {"id_type": "passport", "id_number": f"E1000{n}"},
            "items": [{**item, **more}],
        }
    )


with AuthenticatedClient(base_url=base_url, token=till_key) as till:
    granted = create_claim.sync(client=till, body=sale(1), idempotency_key="k1")
    assert isinstance(granted, Claim), granted
    assert (granted.state, granted.subsidy_fen) == ("confirmed", 119980)

    refused = create_claim.sync(client=till, body=sale(2, energy_grade="3"), idempotency_key="k2")
    assert isinstance(refused, Problem), refused
    assert refused.code == "claim_refused"
    assert [reason.code for reason in refused.reasons] == ["grade_not_eligible"]

    later = sale(3)
    later.hold = True
    held = create_claim.sync(client=till, body=later, idempotency_key="k3")
    assert isinstance(held, Claim)
    assert held.state == "reserved"
    confirmed = confirm_claim.sync(client=till, claim_id=held.claim_id)
    assert isinstance(confirmed, Claim)
    assert confirmed.state == "confirmed"

    refund = refund_claim.sync(
        client=till,
        claim_id=held.claim_id,
        body=RefundRequest(lines=[1], reason="returned"),
        idempotency_key="r3",
    )
    assert isinstance(refund, Refund), refund
    assert refund.subsidy_fen == 119980

    found = read_claim_by_key.sync(client=till, idempotency_key="k1")
    assert isinstance(found, Claim)
    assert found.claim_id == granted.claim_id
    again = read_claim.sync(client=till, claim_id=held.claim_id)
    assert isinstance(again, Claim)
    assert [line.state for line in again.lines] == ["refunded"]
    page = list_claims.sync(client=till, serial_no="AC1")
    assert isinstance(page, ClaimPage)
    assert [claim.claim_id for claim in page.claims] == [granted.claim_id]

with AuthenticatedClient(base_url=base_url, token=finance_key) as finance:
    totals = journal_totals.sync(client=finance, **PERIOD)
    assert isinstance(totals, Totals), totals
    sums = {kind.name: kind.sum_fen for kind in totals.by_kind}
    assert (sums["grant"], sums["refund"]) == (2 * 119980, -119980), sums

    file = File(BytesIO(b"order,subsidy\nO1,1199.80\n"))
    started = reconcile.sync(
        client=finance, body=file, order_no="order", amount="subsidy", **PERIOD
    )
    assert not isinstance(started, Problem), started
    read = read_reconciliation.sync(client=finance, reconciliation_id=started.reconciliation_id)
    assert not isinstance(read, Problem), read
    assert read.file_bytes == len(b"order,subsidy\nO1,1199.80\n")

    period = {"retailer_id": "sandbox", "from": "2025-06-01", "to": "2025-06-30"}
    nothing = draft_settlement.sync(client=finance, body=SettlementBody.from_dict(period))
    assert isinstance(nothing, Problem), nothing
    assert nothing.code == "nothing_to_settle"  # no line has an invoice
    missing = void_settlement.sync(
        client=finance, settlement_id="none", body=VoidBody(reason="drafted in error")
    )
    assert isinstance(missing, Problem), missing
    assert missing.code == "not_found"
