-- Takes out of claims what former keys' digests stand in, and wraps what only they have made; see
-- rotation.py. The claims are locked, and each right is booked under the newest digest already.
--
-- $1 jurisdiction $2 claim ids $3 generation of the newest key $4 $5 its HMAC's inner and outer pad
WITH former AS (
    SELECT l.claim_id, l.line_no, l.state, decode(q.subject, 'hex') AS subject, q.quota, q.period,
        q.amount, q.restored
    FROM claim_line AS l, jsonb_to_recordset(l.quotas)
        AS q (subject text, quota text, period text, amount bigint, restored boolean)
    WHERE l.claim_id = ANY ($2::uuid[])
        AND CASE WHEN length(q.subject) = 32 THEN 1 ELSE get_byte(decode(q.subject, 'hex'), 0) END
            < $3::int
),
lines AS (
    UPDATE claim_line AS l SET quotas = (
        SELECT coalesce(jsonb_agg(q), '[]') FROM jsonb_array_elements(l.quotas) AS q
        WHERE length(q ->> 'subject') > 32
            AND get_byte(decode(q ->> 'subject', 'hex'), 0) = $3::int)
    WHERE (l.claim_id, l.line_no) IN (SELECT claim_id, line_no FROM former)
    RETURNING 1
),
given AS (
    SELECT subject, quota, period, sum(amount) AS amount FROM former
    WHERE state IN ('reserved', 'confirmed') OR (state = 'refunded' AND restored IS FALSE)
    GROUP BY subject, quota, period
),
right_rows AS (
    SELECT u.subject, u.quota, u.period FROM quota_use AS u
    WHERE u.jurisdiction = $1
        AND (u.subject, u.quota, u.period) IN (SELECT subject, quota, period FROM given)
    ORDER BY u.subject, u.quota, u.period
    FOR NO KEY UPDATE
),
rights AS (
    UPDATE quota_use AS u SET used = u.used - given.amount
    FROM given JOIN right_rows USING (subject, quota, period)
    WHERE u.jurisdiction = $1
        AND u.subject = given.subject AND u.quota = given.quota AND u.period = given.period
    RETURNING 1
),
people AS (
    UPDATE claim SET consumer_digest = set_byte('\x00'::bytea, 0, $3::int)
        || substr(sha256($5::bytea || sha256($4::bytea || consumer_digest)), 1, 16)
    WHERE claim_id = ANY ($2::uuid[])
        AND CASE WHEN length(consumer_digest) = 16 THEN 1 ELSE get_byte(consumer_digest, 0) END
            = $3::int - 1
    RETURNING 1
),
keys AS (
    UPDATE idempotency_key AS k SET fingerprint = set_byte('\x00'::bytea, 0, $3::int)
        || sha256($5::bytea || sha256($4::bytea || fingerprint))
    FROM claim AS c
    WHERE c.claim_id = ANY ($2::uuid[]) AND k.jurisdiction = $1
        AND k.retailer_id = c.retailer_id AND k.idempotency_key = c.idempotency_key
        AND CASE WHEN length(fingerprint) = 32 THEN 1 ELSE get_byte(fingerprint, 0) END
            = $3::int - 1
    RETURNING 1
)
SELECT greatest((SELECT count(*) FROM lines), (SELECT count(*) FROM people),
    (SELECT count(*) FROM keys))
