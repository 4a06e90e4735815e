-- Gives lines that only the former key's digests stand in the newest key's as well, and books
-- their rights under it; see rotation.py. The claims are locked.
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
    SELECT *, set_byte('\x00'::bytea, 0, $3::int)
        || substr(sha256($5::bytea || sha256($4::bytea || subject)), 1, 16) AS newest
    FROM taken
    WHERE CASE WHEN length(subject) = 16 THEN 1 ELSE get_byte(subject, 0) END = $3::int - 1
),
wanting AS (
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
        FROM wanting GROUP BY claim_id, line_no
    ) AS more
    WHERE l.claim_id = more.claim_id AND l.line_no = more.line_no
    RETURNING 1
),
rights AS (
    -- They are there, empty; but for those of a claim that came since from an older worker.
    INSERT INTO quota_use AS u (jurisdiction, subject, quota, period, used, used_max)
    SELECT $1, w.newest, w.quota, w.period, sum(w.amount), max(former.used_max)
    FROM wanting AS w
    JOIN quota_use AS former ON former.jurisdiction = $1 AND former.subject = w.subject
        AND former.quota = w.quota AND former.period = w.period
    WHERE w.state IN ('reserved', 'confirmed') OR (w.state = 'refunded' AND w.restored IS FALSE)
    GROUP BY w.newest, w.quota, w.period
    ORDER BY w.newest, w.quota, w.period
    ON CONFLICT (jurisdiction, subject, quota, period) DO UPDATE SET used = u.used + excluded.used
    RETURNING 1
)
SELECT count(*) FROM lines
