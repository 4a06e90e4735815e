"""Sales of pieces by their serial numbers, and the rows that hold these."""

from typing import Any

import httpx

from tests.builders import item_json, resident_id
from tests.conftest import House


def buyer(n: int) -> dict[str, str]:
    return {"id_type": "resident_id", "id_number": resident_id(n)}


async def sell(house: House, n: int, serial_no: str, **overrides: Any) -> httpx.Response:
    """Sale n, to buyer n."""
    items = [item_json(serial_no=serial_no, **overrides)]
    return await house.claim(f"k{n}", consumer=buyer(n), order_no=f"o{n}", items=items)


async def give_back(house: House, claim_id: str) -> httpx.Response:
    async with house.client() as client:
        return await client.post(
            f"/v1/claims/{claim_id}/refunds",
            json={"lines": [1], "reason": "returned"},
            headers={"Idempotency-Key": f"r-{claim_id}"},
        )


def refused_as_claimed(answer: httpx.Response) -> bool:
    return answer.status_code == 409 and [r["code"] for r in answer.json()["reasons"]] == [
        "serial_already_claimed"
    ]


async def held(house: House) -> list[str]:
    rows = await house.sql("SELECT serial_no FROM serial_claimed ORDER BY serial_no")
    return [row["serial_no"] for row in rows]


async def as_in_0_1_0(house: House, claim_id: str) -> None:
    """The rows of this claim as release 0.1.0 writes them: in upper case, and not folded."""
    await house.sql(
        "DELETE FROM serial_claimed AS s USING claim_line AS l WHERE l.claim_id = $1"
        " AND s.claim_id = l.claim_id AND s.serial_no <> upper(l.serial_no)",
        claim_id,
    )
    await house.sql(
        "UPDATE claim_line SET serial_no = upper(serial_no) WHERE claim_id = $1", claim_id
    )
    await house.service.claims.gate._client.flushall()
    await house.service.claims.sweeper.run_once()
