"""Each serial number and IMEI has at most one live claim line, and `serial_claimed` agrees.

A breach means that an item was subsidised twice, or that a returned item cannot be sold again.

A line holds its serial number in upper case, as every release writes it. It may hold the folded
spelling as well: claims of release 0.1.0 get it by `butie ledger fold-serials`, and have none while
another live claim holds it, which that command lists.
"""

from service.audit.invariant import Finding, Invariant, Snapshot, tied
from service.audit.sums import SERIALS

_BREACHES = """
WITH line AS (
    SELECT l.claim_id, upper(l.serial_no) AS serial_no, folded_serial(l.serial_no) AS folded,
        l.imei, l.facts ->> 'imei2' AS imei2
    FROM claim AS c JOIN claim_line AS l USING (claim_id)
    WHERE c.jurisdiction = $1 AND l.state IN ('reserved', 'confirmed')
),
live AS (
    SELECT claim_id, serial_no FROM line
    UNION ALL
    SELECT claim_id, imei FROM line WHERE imei IS NOT NULL AND imei <> serial_no
    UNION ALL
    SELECT claim_id, imei2 FROM line WHERE imei2 IS NOT NULL AND imei2 <> serial_no
),
folded AS (
    SELECT claim_id, folded AS serial_no FROM line WHERE folded <> serial_no
),
taken AS (SELECT claim_id, serial_no FROM serial_claimed WHERE jurisdiction = $1)
SELECT CASE
    WHEN taken.claim_id IS NULL THEN
        format('%s is live in claim %s and not held for it', serial_no, live.claim_id)
    ELSE format('%s is held for claim %s, where it is not live', serial_no, taken.claim_id)
END
FROM live FULL JOIN taken USING (serial_no, claim_id) LEFT JOIN folded USING (serial_no, claim_id)
WHERE taken.claim_id IS NULL OR (live.claim_id IS NULL AND folded.claim_id IS NULL)
"""


async def _check(snapshot: Snapshot) -> Finding:
    return await tied(snapshot, SERIALS, _BREACHES)


INVARIANT = Invariant("serials once", "an item was subsidised twice, or stays blocked", _check)
