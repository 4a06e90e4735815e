"""Fills a ledger with many valid claims by SQL, in a minute or two."""

import asyncpg

# Phones at 1,000.00 yuan under the policy of 2026: 15 %, capped at 500.00.
PRICE_FEN, RATE_BP, CAP_FEN, SUBSIDY_FEN = 100_000, 1_500, 50_000, 15_000

# A UUIDv7 of its own for each, from 2026-01-10 on, ten milliseconds apart.
_ID = "(lpad(to_hex(1768000000000 + n * 10), 12, '0') || '70008000000000000000')::uuid"
_SUBJECT = "substr(sha256(int4send(n::int)), 1, 16)"
_AT = "to_timestamp(1768000000 + n * 0.01)"

_STEPS = (
    f"""INSERT INTO claim (claim_id, jurisdiction, retailer_id, store_id, idempotency_key, order_no,
        policy, state, sold_at, created_at, id_type, consumer_digest, consumer_last4, price_fen,
        subsidy_fen)
    SELECT {_ID}, '330402', 'r1', 'S1', 'seed-' || n, 'seed-' || n, 'national-2026', 'confirmed',
        {_AT}, {_AT}, 'passport', {_SUBJECT}, '0000', {PRICE_FEN}, {SUBSIDY_FEN}
    FROM generate_series(1, $1::bigint) AS n""",
    f"""INSERT INTO claim_line (claim_id, line_no, category, scheme, pool, state, price_fen,
        rate_bp, cap_fen, subsidy_fen, serial_no, quotas)
    SELECT {_ID}, 1, 'phone', 'digital', 'digital', 'confirmed', {PRICE_FEN}, {RATE_BP}, {CAP_FEN},
        {SUBSIDY_FEN}, 'SEED' || n, jsonb_build_array(jsonb_build_object('subject',
            encode({_SUBJECT}, 'hex'), 'quota', 'phone', 'period', '2026', 'amount', 1,
            'restored', true))
    FROM generate_series(1, $1::bigint) AS n""",
    f"""INSERT INTO idempotency_key
        (jurisdiction, retailer_id, idempotency_key, claim_id, fingerprint)
    SELECT '330402', 'r1', 'seed-' || n, {_ID}, sha256(int4send(n::int))
    FROM generate_series(1, $1::bigint) AS n""",
    f"""INSERT INTO serial_claimed (jurisdiction, serial_no, claim_id, line_no)
    SELECT '330402', 'SEED' || n, {_ID}, 1 FROM generate_series(1, $1::bigint) AS n""",
    f"""INSERT INTO quota_use (jurisdiction, subject, quota, period, used, used_max)
    SELECT '330402', {_SUBJECT}, 'phone', '2026', 1, 1 FROM generate_series(1, $1::bigint) AS n""",
    f"""INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,
        retailer_id, store_id, claim_id, line_no, category, policy)
    SELECT '330402', 'grant', booking_day('330402', current_date), {_AT}, 'digital', {SUBSIDY_FEN},
        'r1', 'S1', {_ID}, 1, 'phone', 'national-2026'
    FROM generate_series(1, $1::bigint) AS n""",
)


async def seed(database_url: str, claims: int) -> None:
    """Add so many confirmed claims of retailer r1, and allocate their money. The books tie."""
    connection = await asyncpg.connect(database_url, server_settings={"statement_timeout": "0"})
    async with connection.transaction():
        await connection.execute(
            """INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen,
                document_no)
            VALUES ('330402', 'allocation', booking_day('330402', current_date), now(), 'digital',
                $1, 'SEED')""",
            claims * SUBSIDY_FEN,
        )
        for step in _STEPS:
            await connection.execute(step, claims)
        await connection.execute(
            "UPDATE pool SET allocated_fen = allocated_fen + $1,"
            " confirmed_fen = confirmed_fen + $1, version = version + 1"
            " WHERE jurisdiction = '330402' AND pool = 'digital'",
            claims * SUBSIDY_FEN,
        )
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
