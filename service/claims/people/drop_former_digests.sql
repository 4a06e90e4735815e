-- Removes former keys' digests from claims and from the quotas' rows, and wraps the digests that
-- exist only once (people, fingerprints); see rotation.py. The caller has locked the claims, and
-- every quota is booked under the newest digest already. Returns how many claims or lines changed.
--
-- Lock order: commit_claims.sql.
--
-- $1 jurisdiction $2 claim ids $3 generation of the newest key $4 $5 its HMAC's inner and outer pad
WITH former AS (
    SELECT l.claim_id, l.line_no, l.state, decode(q.subject, 'hex') AS subject, q.quota, q.period,
        q.amount, q.restored
    FROM claim_line AS l, jsonb_to_recordset(l.quotas)
        AS q (subject text, quota text, period text, amount bigint, restored boolean)
    WHERE l.claim_id = ANY ($2::uuid[])
        AND digest_generation(decode(q.subject, 'hex')) < $3::int
),
lines AS (
    UPDATE claim_line AS l SET quotas = (
        SELECT coalesce(jsonb_agg(q), '[]') FROM jsonb_array_elements(l.quotas) AS q
        WHERE digest_generation(decode(q ->> 'subject', 'hex')) = $3::int)
    WHERE (l.claim_id, l.line_no) IN (SELECT claim_id, line_no FROM former)
    RETURNING 1
),
booked AS (
    SELECT subject, quota, period, sum(amount) AS amount FROM former
    WHERE state IN ('reserved', 'confirmed') OR (state = 'refunded' AND restored IS FALSE)
    GROUP BY subject, quota, period
),
quota_rows AS (
    SELECT u.subject, u.quota, u.period FROM quota_use AS u
    WHERE u.jurisdiction = $1
        AND (u.subject, u.quota, u.period) IN (SELECT subject, quota, period FROM booked)
    ORDER BY u.subject, u.quota, u.period
    FOR NO KEY UPDATE
),
quotas AS (
    UPDATE quota_use AS u SET used = u.used - booked.amount
    FROM booked JOIN quota_rows USING (subject, quota, period)
    WHERE u.jurisdiction = $1
        AND u.subject = booked.subject AND u.quota = booked.quota AND u.period = booked.period
    RETURNING 1
),
people AS (
    UPDATE claim SET consumer_digest = wrapped_digest(consumer_digest, $3, $4, $5)
    WHERE claim_id = ANY ($2::uuid[]) AND digest_generation(consumer_digest) = $3::int - 1
    RETURNING 1
),
keys AS (
    UPDATE idempotency_key AS k SET fingerprint = wrapped_digest(fingerprint, $3, $4, $5)
    FROM claim AS c
    WHERE c.claim_id = ANY ($2::uuid[]) AND k.jurisdiction = $1
        AND k.retailer_id = c.retailer_id AND k.idempotency_key = c.idempotency_key
        AND digest_generation(k.fingerprint) = $3::int - 1
    RETURNING 1
)
SELECT greatest((SELECT count(*) FROM lines), (SELECT count(*) FROM people),
    (SELECT count(*) FROM keys))
