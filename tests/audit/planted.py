"""Claims of each kind, and changes that break the books."""

from tests.builders import item_json, resident_id, serial
from tests.conftest import House


async def live(house: House) -> None:
    """A claim, a hold, a cancelled hold, and a refund."""
    for n in range(4):
        answer = await house.claim(
            f"k{n}",
            hold=n in (1, 2),
            consumer={"id_type": "resident_id", "id_number": resident_id(n)},
            items=[item_json(serial_no=serial(n))],
        )
        claim_id = answer.json()["claim_id"]
        async with house.client() as client:
            if n == 2:
                await client.post(f"/v1/claims/{claim_id}/cancel")
            elif n == 3:
                await client.post(
                    f"/v1/claims/{claim_id}/refunds",
                    json={"lines": [1], "reason": "returned"},
                    headers={"Idempotency-Key": "r"},
                )
    await house.quiet()


# Each change breaks the books. Constraints are dropped and triggers disabled to make it possible.
PLANTED = {
    "UPDATE pool SET confirmed_fen = confirmed_fen + 1": "pools tie",
    "UPDATE pool SET reserved_fen = reserved_fen + 1": "pools tie",
    "UPDATE pool SET allocated_fen = allocated_fen + 1": "pools tie",
    "UPDATE pool SET escrow_fen = escrow_fen + 1": "pools tie",
    "DELETE FROM serial_claimed": "serials once",
    "INSERT INTO serial_claimed SELECT jurisdiction, 'X', claim_id, 1 FROM serial_claimed"
    " LIMIT 1": "serials once",
    "UPDATE quota_use SET used = used + 1": "rights kept",
    "UPDATE quota_use SET used_max = -1": "rights kept",
    "DELETE FROM quota_use": "rights kept",
    "DELETE FROM idempotency_key": "keys once",
    "UPDATE idempotency_key SET claim_id = gen_random_uuid()": "keys once",
    "UPDATE claim SET subsidy_fen = subsidy_fen - 1": "claims booked",
    "UPDATE claim SET state = 'cancelled' WHERE state = 'confirmed'": "claims booked",
    "DELETE FROM journal WHERE kind = 'grant'": "claims booked",
    "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen, claim_id,"
    " line_no) SELECT jurisdiction, 'grant', booked_on, booked_at, pool, amount_fen, claim_id,"
    " line_no FROM journal WHERE kind = 'grant'": "claims booked",
    "UPDATE claim_line SET subsidy_fen = subsidy_fen - 1": "amounts right",
    "UPDATE claim SET policy = 'none'": "amounts right",
    "UPDATE claim_line SET energy_grade = '2'": "amounts right",
}
