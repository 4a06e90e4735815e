"""One claim for each idempotency key, and one key for each claim.

A breach means that a till's retry would be paid again, or answered with another claim.
"""

from service.audit.invariant import Finding, Invariant, Snapshot, tied
from service.audit.sums import KEYS

_BREACHES = """
WITH keyed AS (
    SELECT retailer_id, idempotency_key, claim_id FROM idempotency_key
    WHERE jurisdiction = $1 AND claim_id IS NOT NULL
),
claimed AS (
    SELECT retailer_id, idempotency_key, claim_id FROM claim WHERE jurisdiction = $1
)
SELECT CASE
    WHEN keyed.retailer_id IS NULL THEN
        format('claim %s has not its key %s', claim_id, claimed.idempotency_key)
    ELSE format('key %s of %s has no claim %s', keyed.idempotency_key, keyed.retailer_id, claim_id)
END
FROM keyed FULL JOIN claimed USING (retailer_id, idempotency_key, claim_id)
WHERE keyed.retailer_id IS NULL OR claimed.retailer_id IS NULL
   OR keyed.idempotency_key IS NULL OR claimed.idempotency_key IS NULL
"""


async def _check(snapshot: Snapshot) -> Finding:
    return await tied(snapshot, KEYS, _BREACHES)


INVARIANT = Invariant("keys once", "a retry would be paid again", _check)
