"""The yardstick: a plain FastAPI route that parses and answers the same models, without I/O."""

from typing import Annotated
from uuid import uuid4

from fastapi import Depends, FastAPI, Header

from service.api.bodies import json_body
from service.claims.claim import Claim, ClaimLine
from service.core.checkout import Checkout

app = FastAPI()


@app.post("/v1/claims", status_code=201)
async def claim(
    checkout: Annotated[Checkout, Depends(json_body(Checkout))], idempotency_key: str = Header()
) -> Claim:
    """Grants every line at 20 %."""
    lines = tuple(
        ClaimLine(
            line_no=item.line_no,
            category=item.category,
            price_fen=item.price_fen,
            rate_bp=2000,
            cap_fen=200_000,
            subsidy_fen=item.price_fen // 5,
            payable_fen=item.price_fen - item.price_fen // 5,
            pool="appliances",
            state="confirmed",
        )
        for item in checkout.items
    )
    price = sum(line.price_fen for line in lines)
    subsidy = sum(line.subsidy_fen for line in lines)
    return Claim(
        claim_id=uuid4(),
        state="confirmed",
        store_id=checkout.store_id,
        order_no=checkout.order_no,
        policy="nanhu-2025",
        sold_at=checkout.sold_at,
        created_at=checkout.sold_at,
        expires_at=None,
        price_fen=price,
        subsidy_fen=subsidy,
        payable_fen=price - subsidy,
        lines=lines,
    )
