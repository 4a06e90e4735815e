-- Adds the newest key's digest to lines that have only the former key's, and books their quotas
-- under it; see rotation.py. The caller has locked the claims. Returns how many lines changed.
--
-- $1 jurisdiction $2 claim ids $3 generation of the newest key $4 $5 its HMAC's inner and outer pad
WITH taken AS (
    SELECT l.claim_id, l.line_no, l.state, l.quotas, decode(q.subject, 'hex') AS subject, q.quota,
        q.period, q.amount, q.restored
    FROM claim_line AS l, jsonb_to_recordset(l.quotas)
        AS q (subject text, quota text, period text, amount bigint, restored boolean)
    WHERE l.claim_id = ANY ($2::uuid[])
),
wrapped AS (
    SELECT *, wrapped_digest(subject, $3, $4, $5) AS newest
    FROM taken
    WHERE digest_generation(subject) = $3::int - 1
),
missing AS (
    SELECT * FROM wrapped AS w
    WHERE NOT EXISTS (
        SELECT 1 FROM taken AS t
        WHERE t.claim_id = w.claim_id AND t.line_no = w.line_no AND t.subject = w.newest
            AND t.quota = w.quota AND t.period = w.period)
),
lines AS (
    UPDATE claim_line AS l SET quotas = l.quotas || more.quotas
    FROM (
        SELECT claim_id, line_no, jsonb_agg(jsonb_build_object('subject', encode(newest, 'hex'),
            'quota', quota, 'period', period, 'amount', amount, 'restored', restored)) AS quotas
        FROM missing GROUP BY claim_id, line_no
    ) AS more
    WHERE l.claim_id = more.claim_id AND l.line_no = more.line_no
    RETURNING 1
),
booked AS (
    -- Their rows exist and are empty, except for a claim that an older worker committed since.
    INSERT INTO quota_use AS u (jurisdiction, subject, quota, period, used, used_max)
    SELECT $1, w.newest, w.quota, w.period, sum(w.amount), max(former.used_max)
    FROM missing AS w
    JOIN quota_use AS former ON former.jurisdiction = $1 AND former.subject = w.subject
        AND former.quota = w.quota AND former.period = w.period
    WHERE w.state IN ('reserved', 'confirmed') OR (w.state = 'refunded' AND w.restored IS FALSE)
    GROUP BY w.newest, w.quota, w.period
    ORDER BY w.newest, w.quota, w.period
    ON CONFLICT (jurisdiction, subject, quota, period) DO UPDATE SET used = u.used + excluded.used
    RETURNING 1
)
SELECT count(*) FROM lines
