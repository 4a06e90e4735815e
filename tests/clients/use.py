"""What a till's programmer writes with the generated Python client; run with its own interpreter.

python use.py FOLDER_OF_THE_CLIENT BASE_URL KEY
"""

import sys
from pathlib import Path

folder, base_url, key = sys.argv[1:]
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
from client.models import Checkout, Claim, ClaimPage, Problem, Refund, RefundRequest  # noqa: E402


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


with AuthenticatedClient(base_url=base_url, token=key) as till:
    granted = create_claim.sync(client=till, body=sale(1), idempotency_key="k1")
    assert isinstance(granted, Claim), granted
    assert (granted.state, granted.subsidy_fen) == ("confirmed", 119980)

    refused = create_claim.sync(client=till, body=sale(2, energy_grade="3"), idempotency_key="k2")
    assert isinstance(refused, Problem), refused
    assert refused.code == "claim_refused"
    assert [reason.code for reason in refused.reasons] == ["grade_not_eligible"]

    wanted = sale(3)
    wanted.hold = True
    held = create_claim.sync(client=till, body=wanted, idempotency_key="k3")
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
