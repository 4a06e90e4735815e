"""Claims, entries and closings for the tests of finance."""

from datetime import date

from service.finance.journal.closing import close_days, closes_at, record_funding
from tests.builders import item_json, resident_id, serial
from tests.conftest import House

PLACE = "330402"
TODAY = date(2025, 6, 18)
PERIOD = {"from": "2025-06-01", "to": "2025-06-30"}

INVOICE_ALL = """
INSERT INTO invoice (jurisdiction, number, code, claim_id, dated_on, buyer, total_fen, recorded_at)
SELECT jurisdiction, 'F' || left(claim_id::text, 13) || right(claim_id::text, 6), '', claim_id,
    '2025-06-18', 'x', price_fen, now()
FROM claim ON CONFLICT DO NOTHING
"""


async def claim_some(house: House, count: int, start: int = 1) -> list[str]:
    """Claims for persons and goods of their own; returns their ids."""
    claim_ids = []
    for n in range(start, start + count):
        answer = await house.claim(
            f"k{n}",
            consumer={"id_type": "resident_id", "id_number": resident_id(n)},
            items=[item_json(serial_no=serial(n), price_fen=100_000 + n)],
        )
        assert answer.status_code == 201, answer.text
        claim_ids.append(answer.json()["claim_id"])
    return claim_ids


async def invoiced(house: House, count: int, start: int = 1) -> list[str]:
    claims = await claim_some(house, count, start)
    await house.sql(INVOICE_ALL)
    return claims


async def close(house: House, day: date = TODAY) -> list[date]:
    async with house.service.reports.connection() as connection:
        await record_funding(connection, house.service.book)
        return await close_days(connection, PLACE, closes_at(day))


async def refund(house: House, claim_id: str) -> None:
    """Book what a refund of the whole claim books."""
    await house.sql(
        "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
        " retailer_id, store_id, claim_id, line_no, category, policy)"
        " SELECT jurisdiction, 'refund', booking_day(jurisdiction, booked_on), booked_at, pool,"
        " -amount_fen, retailer_id, store_id, claim_id, line_no, category, policy"
        " FROM journal WHERE claim_id = $1::uuid AND kind = 'grant'",
        claim_id,
    )


async def many_entries(house: House, count: int) -> None:
    """Grants without claims, two stores and categories, booked today."""
    await house.slow_sql(
        "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,"
        " retailer_id, store_id, claim_id, line_no, category, policy)"
        " SELECT $1, 'grant', $2, now(), 'digital', n, 'sandbox', 'S' || n % 2,"
        " gen_random_uuid(), 1, CASE n % 2 WHEN 0 THEN 'phone' ELSE 'tablet' END, 'nanhu-2025'"
        " FROM generate_series(1, $3::int) AS n",
        PLACE,
        TODAY,
        count,
    )
