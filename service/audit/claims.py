"""Every claim is the sum of its lines, and every line is booked as its state says.

A confirmed line has one grant of its amount. A refunded line has a grant and a refund. Any other
line has no entry. A breach means that the books differ from the answer that was given.
"""

from service.audit.invariant import Finding, Invariant, Snapshot, find

_COUNT = """
SELECT count(*) FROM claim AS c JOIN claim_line USING (claim_id) WHERE c.jurisdiction = $1
"""
_BREACHES = """
WITH line AS (
    SELECT c.claim_id, c.state AS claim_state, c.subsidy_fen AS claim_fen,
        c.price_fen AS claim_price, l.line_no, l.state, l.subsidy_fen, l.price_fen
    FROM claim AS c LEFT JOIN claim_line AS l USING (claim_id) WHERE c.jurisdiction = $1
),
entry AS (
    SELECT claim_id, line_no,
        count(*) FILTER (WHERE kind = 'grant') AS grants,
        count(*) FILTER (WHERE kind = 'refund') AS refunds,
        coalesce(sum(amount_fen) FILTER (WHERE kind = 'grant'), 0) AS granted,
        coalesce(sum(amount_fen) FILTER (WHERE kind = 'refund'), 0) AS refunded
    FROM journal WHERE jurisdiction = $1 AND claim_id IS NOT NULL GROUP BY 1, 2
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


async def _check(snapshot: Snapshot) -> Finding:
    return await find(snapshot, _COUNT, _BREACHES)


INVARIANT = Invariant("claims booked", "the journal differs from an answered claim", _check)
