"""Every claim is the sum of its lines, and every line is booked as its state says.

A confirmed line has one grant of its amount. A refunded line has a grant and a refund. Any other
line has no entry. A breach means that the books differ from the answer that was given.
"""

from service.audit.invariant import Finding, Invariant, Snapshot, name_breaches
from service.audit.sums import AMOUNT_MAX, read_sums

_COUNT = """
WITH {scope} line AS (SELECT FROM {claim} AS c JOIN claim_line USING (claim_id)
    WHERE c.jurisdiction = $1)
SELECT count(*) FROM line
"""
_BREACHES = """
WITH {scope}
line AS (
    SELECT c.claim_id, c.state AS claim_state, c.subsidy_fen AS claim_fen,
        c.price_fen AS claim_price, l.line_no, l.state, l.subsidy_fen, l.price_fen
    FROM {claim} AS c LEFT JOIN claim_line AS l USING (claim_id) WHERE c.jurisdiction = $1
),
entry AS (
    SELECT claim_id, coalesce(line_no, -1) AS line_no,
        count(*) FILTER (WHERE kind = 'grant') AS grants,
        count(*) FILTER (WHERE kind = 'refund') AS refunds,
        coalesce(sum(amount_fen) FILTER (WHERE kind = 'grant'), 0) AS granted,
        coalesce(sum(amount_fen) FILTER (WHERE kind = 'refund'), 0) AS refunded
    FROM {journal} AS e WHERE jurisdiction = $1 AND claim_id IS NOT NULL GROUP BY 1, 2
)
SELECT format('claim %s: %s fen, its lines say %s', claim_id, claim_fen, sum(subsidy_fen))
FROM line GROUP BY claim_id, claim_fen, claim_price
HAVING claim_fen IS DISTINCT FROM sum(subsidy_fen) OR claim_price IS DISTINCT FROM sum(price_fen)
UNION ALL
SELECT format('claim %s is %s and its line %s is %s', claim_id, claim_state, line_no, state)
FROM line
WHERE state <> claim_state AND NOT (claim_state = 'confirmed' AND state = 'refunded')
UNION ALL
SELECT format('claim %s line %s, %s: %s grants of %s and %s refunds of %s for %s fen',
    coalesce(line.claim_id, entry.claim_id), coalesce(line.line_no, entry.line_no), state,
    coalesce(grants, 0), coalesce(granted, 0), coalesce(refunds, 0), coalesce(refunded, 0),
    subsidy_fen)
FROM line FULL JOIN entry
    ON entry.claim_id = line.claim_id AND entry.line_no = line.line_no
WHERE (coalesce(grants, 0), coalesce(granted, 0), coalesce(refunds, 0), coalesce(refunded, 0))
    IS DISTINCT FROM CASE state
        WHEN 'confirmed' THEN (1::bigint, subsidy_fen::numeric, 0::bigint, 0::numeric)
        WHEN 'refunded' THEN (1::bigint, subsidy_fen::numeric, 1::bigint, -subsidy_fen::numeric)
        ELSE (0::bigint, 0::numeric, 0::bigint, 0::numeric)
    END
"""


def _amount(fen: str) -> str:
    return f"least(greatest({fen}, -{AMOUNT_MAX}), {AMOUNT_MAX})"


def _beyond(fen: str) -> str:
    """How many amounts are too large to be added up: they are paired."""
    return f"count(*) FILTER (WHERE {fen} NOT BETWEEN -{AMOUNT_MAX} AND {AMOUNT_MAX})"


def _entry(kind: int) -> str:
    """The hash of a line's grant (0) or refund (1). An entry without a line is of line -1, which
    no claim has."""
    return f"(uuid_hash_extended(claim_id, $2::bigint + 2 * coalesce(line_no, -1) + {kind}) >> 32)"


# As in sums.py: the claims' amounts less those of their lines, and the lines' entries less those of
# the journal, each by the hash of what it belongs to. A hash has 31 bits, so that its product with
# an amount fits into 64. First comes the number of rows that are wrong, or too large.
# $1 jurisdiction $2 seed.
_LINE_SUMS = f"""
SELECT count(line_no),
    count(*) FILTER (WHERE line_no IS NULL
        OR state <> claim_state AND NOT (claim_state = 'confirmed' AND state = 'refunded'))
        + {_beyond("subsidy_fen")} + {_beyond("price_fen")},
    coalesce(sum(own * {_amount("subsidy_fen")}), 0),
    coalesce(sum(own * {_amount("price_fen")}), 0),
    coalesce(sum(CASE state WHEN 'confirmed' THEN granted
        WHEN 'refunded' THEN granted + refunded ELSE 0 END), 0),
    coalesce(sum(CASE state WHEN 'confirmed' THEN granted
        WHEN 'refunded' THEN granted - refunded ELSE 0 END * {_amount("subsidy_fen")}), 0)
FROM (
    SELECT l.line_no, c.state AS claim_state, l.state, l.subsidy_fen, l.price_fen,
        uuid_hash_extended(claim_id, $2::bigint) >> 33 AS own, {_entry(0)} >> 1 AS granted,
        {_entry(1)} >> 1 AS refunded
    FROM claim AS c LEFT JOIN claim_line AS l USING (claim_id) WHERE c.jurisdiction = $1
) AS line
"""  # noqa: S608
_CLAIM_SUMS = f"""
SELECT {_beyond("subsidy_fen")} + {_beyond("price_fen")},
    coalesce(sum(own * {_amount("subsidy_fen")}), 0),
    coalesce(sum(own * {_amount("price_fen")}), 0)
FROM (
    SELECT subsidy_fen, price_fen, uuid_hash_extended(claim_id, $2::bigint) >> 33 AS own
    FROM claim WHERE jurisdiction = $1
) AS claim
"""  # noqa: S608
_ENTRY_SUMS = f"""
SELECT {_beyond("amount_fen")}, coalesce(sum(entry), 0),
    coalesce(sum(entry * {_amount("amount_fen")}), 0)
FROM (
    SELECT amount_fen, CASE kind WHEN 'grant' THEN {_entry(0)} ELSE {_entry(1)} END >> 1 AS entry
    FROM journal WHERE jurisdiction = $1 AND claim_id IS NOT NULL
) AS booked
"""  # noqa: S608


async def _check(snapshot: Snapshot) -> Finding:
    connection = snapshot.connection
    if snapshot.since is None:
        arguments = snapshot.jurisdiction, snapshot.seed
        lines, faults, *line_sums = await read_sums(connection, _LINE_SUMS, *arguments)
        large_claims, *claim_sums = await read_sums(connection, _CLAIM_SUMS, *arguments)
        large_entries, *entry_sums = await read_sums(connection, _ENTRY_SUMS, *arguments)
        finding = Finding(checked=lines)
        if not faults + large_claims + large_entries and line_sums == [*claim_sums, *entry_sums]:
            return finding
    else:
        lines = await connection.fetchval(*snapshot.narrowed(_COUNT))
        finding = Finding(checked=lines, before=snapshot.lines_before)
    await name_breaches(connection, finding, *snapshot.narrowed(_BREACHES))
    return finding


INVARIANT = Invariant("claims booked", "the journal differs from an answered claim", _check)
