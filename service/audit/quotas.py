"""The use of every quota equals the sum of what the lines took of it, and is within its limit.

A breach means that a person or an old vehicle got more than the policy allows, or did not get back
what a refund restores. If the policy does not restore a quota on refund, it stays used.
"""

from service.audit.invariant import Finding, Invariant, Snapshot, tied
from service.audit.sums import QUOTAS

_BREACHES = """
WITH taken AS (
    SELECT decode(q.subject, 'hex') AS subject, q.quota, q.period, sum(q.amount) AS amount
    FROM claim AS c JOIN claim_line AS l USING (claim_id),
        jsonb_to_recordset(l.quotas)
            AS q (subject text, quota text, period text, amount bigint, restored boolean)
    WHERE c.jurisdiction = $1 AND (
        l.state IN ('reserved', 'confirmed') OR (l.state = 'refunded' AND q.restored IS FALSE))
    GROUP BY 1, 2, 3
),
booked AS (
    SELECT subject, quota, period, used, used_max FROM quota_use WHERE jurisdiction = $1
)
SELECT format('%s %s of %s: used %s of %s, the lines took %s', quota, period,
    encode(subject, 'hex'), coalesce(used, 0), used_max, coalesce(amount, 0))
FROM booked FULL JOIN taken USING (subject, quota, period)
WHERE coalesce(used, 0) <> coalesce(amount, 0) OR used > used_max
"""


async def _check(snapshot: Snapshot) -> Finding:
    return await tied(snapshot, QUOTAS, _BREACHES)


# The name is a label of `butie_audit_breaches`, so it keeps its old word.
INVARIANT = Invariant("rights kept", "a quota was exceeded, or was not given back", _check)
