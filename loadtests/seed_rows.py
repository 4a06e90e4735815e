"""The rows of a seeded ledger, as SQL. Claim number n is the same claim in every table.

A claim has one line, which is one of MENU_ROWS kinds that the policy has priced. No two claims
share a buyer, a serial number or a key. These are as random as digests, so that they are spread
over the indexes as real ones are. In 200 claims one is cancelled, one expired, two are refunded.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from random import Random
from typing import Any

from loadtests import goods
from service.core.calendar import SHANGHAI
from service.core.policy import PolicyBook
from service.core.quote import quote
from tests.builders import make_checkout, resident_id

MENU_ROWS = 1_000
RETAILERS = 37  # a prime, so that each retailer has claims of each kind and state
STORES_EACH = 10
OPEN_AT, OPEN_HOURS = time(10), 12

MAKE_MENU = """
CREATE UNLOGGED TABLE seed_menu (
    menu_no      bigint PRIMARY KEY,
    category     text,
    pool         text,
    energy_grade text,
    price_fen    bigint,
    rate_bp      integer,
    cap_fen      bigint,
    subsidy_fen  bigint,
    trade_in     jsonb,
    quotas       text,
    quota_uses   jsonb
)
"""
DROP_MENU = "DROP TABLE seed_menu"

# $1, $2: the first and the last claim. The names with a colon are filled in by `Span`. PostgreSQL
# flattens the subquery, so it computes only the columns that a table takes.
_ROW = f"""
(
    SELECT *, (lpad(to_hex(ms), 12, '0') || '7' || substr(digest, 1, 3) || '8'
            || substr(digest, 4, 15))::uuid AS claim_id,
        to_timestamp(ms / 1000.0) AS at,
        :first + day_no AS day,
        'seed' || to_char(retailer, 'FM00') AS retailer_id,
        'S' || to_char(retailer, 'FM00') || to_char(n / {RETAILERS} % {STORES_EACH}, 'FM00')
            AS store_id,
        md5('key ' || n)::uuid::text AS key,
        upper(substr(md5('serial ' || n), 1, 8)) || 'N' || n AS serial_no,
        CASE n % 200 WHEN 0 THEN 'cancelled' WHEN 1 THEN 'expired' ELSE 'confirmed' END AS state,
        n % 200 IN (2, 3) AS refunded,
        md5('person ' || n) AS person,
        md5('vehicle ' || n) AS vehicle
    FROM (
        SELECT n, ((n - 1) / :a_day)::integer AS day_no, n % {RETAILERS} AS retailer,
            md5('claim ' || n) AS digest,
            (extract(epoch FROM (:first + time '{OPEN_AT}') AT TIME ZONE 'Asia/Shanghai')
                * 1000)::bigint
                + (n - 1) / :a_day * 86400000
                + (n - 1) % :a_day * {OPEN_HOURS * 3_600_000} / :a_day AS ms
        FROM generate_series($1::bigint, $2::bigint) AS n
    ) AS dated
) AS row
JOIN seed_menu ON menu_no = n % {MENU_ROWS}
"""

CLAIM = f"""
INSERT INTO claim (claim_id, jurisdiction, retailer_id, store_id, idempotency_key, order_no,
    policy, state, sold_at, created_at, expires_at, id_type, consumer_digest, consumer_last4,
    price_fen, subsidy_fen)
SELECT claim_id, :jurisdiction, retailer_id, store_id, key,
    'POS-' || to_char(day, 'YYYYMMDD') || '-' || n, :policy, state, at, at,
    CASE WHEN state = 'expired' THEN at + interval '15 minutes' END,
    'resident_id', decode(person, 'hex'), to_char(n % 10000, 'FM0000'), price_fen, subsidy_fen
FROM {_ROW}
"""
KEY = f"""
INSERT INTO idempotency_key (jurisdiction, retailer_id, idempotency_key, claim_id, fingerprint)
SELECT :jurisdiction, retailer_id, key, claim_id, sha256(convert_to('body ' || n, 'UTF8'))
FROM {_ROW}
"""
QUOTA = f"""
INSERT INTO quota_use (jurisdiction, subject, quota, period, used, used_max)
SELECT :jurisdiction, decode(CASE q.kind WHEN 'person' THEN person ELSE vehicle END, 'hex'),
    q.quota, q.period, CASE WHEN state = 'confirmed' AND NOT refunded THEN q.amount ELSE 0 END,
    q.used_max
FROM {_ROW} CROSS JOIN LATERAL jsonb_to_recordset(quota_uses)
    AS q (kind text, quota text, period text, amount bigint, used_max bigint)
"""
LINE = f"""
INSERT INTO claim_line (claim_id, line_no, category, scheme, pool, state, price_fen, rate_bp,
    cap_fen, subsidy_fen, energy_grade, serial_no, trade_in, quotas)
SELECT claim_id, 1, category, pool, pool, CASE WHEN refunded THEN 'refunded' ELSE state END,
    price_fen, rate_bp, cap_fen, subsidy_fen, energy_grade, serial_no, trade_in,
    replace(replace(quotas, '<person>', person), '<trade_in>', vehicle)::jsonb
FROM {_ROW}
"""
SERIAL = f"""
INSERT INTO serial_claimed (jurisdiction, serial_no, claim_id, line_no)
SELECT :jurisdiction, serial_no, claim_id, 1
FROM {_ROW} WHERE state = 'confirmed' AND NOT refunded
"""
_ENTRY = """
INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen, retailer_id,
    store_id, claim_id, line_no, category, policy)
"""
GRANT = f"""
{_ENTRY}
SELECT :jurisdiction, 'grant', day, at, pool, subsidy_fen, retailer_id, store_id, claim_id, 1,
    category, :policy
FROM {_ROW} WHERE state = 'confirmed'
"""
REFUND_ENTRY = f"""
{_ENTRY}
SELECT :jurisdiction, 'refund', day, at, pool, -subsidy_fen, retailer_id, store_id, claim_id, 1,
    category, :policy
FROM {_ROW} WHERE refunded
"""
REFUND = f"""
INSERT INTO refund (jurisdiction, retailer_id, idempotency_key, fingerprint, refund_id, claim_id,
    lines, lines_refunded, reason, subsidy_fen, created_at)
SELECT :jurisdiction, retailer_id, key, sha256(convert_to('refund ' || n, 'UTF8')), vehicle::uuid,
    claim_id, '{{1}}', 1, 'returned', subsidy_fen, at
FROM {_ROW} WHERE refunded
"""

# Two lanes, for two processors. The journal is filled in one lane, in the order of its entries.
LANES = (
    {"claim": (CLAIM,), "idempotency_key": (KEY,), "quota_use": (QUOTA,)},
    {
        "claim_line": (LINE,),
        "journal": (GRANT, REFUND_ENTRY),
        "serial_claimed": (SERIAL,),
        "refund": (REFUND,),
    },
)

# Allocates what the seeded claims took, so that the remaining money stays the same.
ALLOCATE = """
WITH spent AS (
    SELECT pool, sum(amount_fen)::bigint AS fen FROM journal
    WHERE jurisdiction = $1 AND kind <> 'allocation' GROUP BY pool
),
booked AS (
    INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen, document_no,
        note)
    SELECT $1, 'allocation', $2::date, $3::timestamptz, pool, fen, 'SEED', 'seeded' FROM spent
)
UPDATE pool SET allocated_fen = allocated_fen + fen, confirmed_fen = confirmed_fen + fen,
    version = version + 1
FROM spent WHERE pool.jurisdiction = $1 AND pool.pool = spent.pool
"""


@dataclass(frozen=True, slots=True)
class Span:
    """The claims 1 to `claims`, spread evenly over the days from `first` to `last`."""

    jurisdiction: str
    policy: str
    claims: int
    first: date
    last: date

    @property
    def a_day(self) -> int:
        return -(-self.claims // ((self.last - self.first).days + 1))

    def fill_in(self, statement: str) -> str:
        """The statement with the values of this span."""
        for name, value in (
            (":jurisdiction", f"'{self.jurisdiction}'"),
            (":first", f"DATE '{self.first}'"),
            (":a_day", str(self.a_day)),
            (":policy", f"'{self.policy}'"),
        ):
            statement = statement.replace(name, value)
        return statement

    @property
    def opens_at(self) -> datetime:
        return datetime.combine(self.first, OPEN_AT, SHANGHAI)


def menu(book: PolicyBook, sold_at: datetime) -> Iterator[tuple[Any, ...]]:
    """Rows of `seed_menu`: goods as they are sold, priced by the policy of that day."""
    random = Random(2025)
    for menu_no in range(MENU_ROWS):
        item = goods.item_of(goods.pick(random), menu_no, random)
        checkout = make_checkout(
            sold_at=sold_at.isoformat(),
            consumer={"id_type": "resident_id", "id_number": resident_id()},
            items=[item],
        )
        line = quote(book, checkout, sold_at).lines[0]
        assert not line.reasons, f"Bug! {item} is refused: {line.reasons}"
        quotas = [
            {
                "subject": f"<{use.subject}>",
                "quota": use.quota,
                "period": use.period,
                "amount": use.amount,
                "restored": use.restored,
            }
            for use in line.quotas
        ]
        quota_uses = [
            {
                "kind": use.subject,
                "quota": use.quota,
                "period": use.period,
                "amount": use.amount,
                "used_max": use.limit,
            }
            for use in line.quotas
        ]
        trade_in = json.dumps(item["trade_in"]) if "trade_in" in item else None
        yield (
            menu_no,
            line.category,
            line.pool,
            item.get("energy_grade"),
            line.price_fen,
            line.rate_bp,
            line.cap_fen,
            line.subsidy_fen,
            trade_in,
            json.dumps(quotas),
            json.dumps(quota_uses),
        )
