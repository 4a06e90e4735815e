-- Takes lines of a confirmed claim back, all of those named or none, in one statement.
--
-- The refund's row is written from the lines that were really taken back: when one of them could
-- not be (it was refunded before), `refund_is_whole` breaks and nothing is kept. A repeat of the
-- same Idempotency-Key breaks the row's primary key, and the caller reads what stands there.
--
-- Locks are taken in commit.sql's order, the claim's own row first and the pools' last.
--
-- $1 jurisdiction $2 retailer_id $3 idempotency_key $4 fingerprint $5 refund_id $6 claim_id
-- $7 lines $8 reason $9 now $10 booked_on
WITH target AS (
    SELECT claim_id, store_id, policy FROM claim
    WHERE claim_id = $6 AND jurisdiction = $1 AND retailer_id = $2 AND state = 'confirmed'
    FOR NO KEY UPDATE
),
line AS (
    UPDATE claim_line AS l SET state = 'refunded'
    FROM target AS t
    WHERE l.claim_id = t.claim_id AND l.line_no = ANY ($7::smallint[]) AND l.state = 'confirmed'
    RETURNING l.claim_id, l.line_no, l.category, l.pool, l.subsidy_fen, l.quotas, t.store_id,
        t.policy
),
refunds AS (
    INSERT INTO refund (
        jurisdiction, retailer_id, idempotency_key, fingerprint, refund_id, claim_id, lines,
        lines_refunded, reason, subsidy_fen, created_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, count(*), $8, coalesce(sum(subsidy_fen), 0), $9 FROM line
    RETURNING subsidy_fen
),
serials AS (
    DELETE FROM serial_claimed AS s USING line AS l
    WHERE s.jurisdiction = $1 AND s.claim_id = l.claim_id AND s.line_no = l.line_no
    RETURNING s.claim_id, s.serial_no
),
given AS (
    SELECT l.claim_id, l.line_no, decode(q.subject, 'hex') AS subject, q.quota, q.period, q.amount
    FROM line AS l, jsonb_to_recordset(l.quotas)
        AS q (subject text, quota text, period text, amount bigint, restored boolean)
    WHERE q.restored IS NOT FALSE
),
right_rows AS (
    SELECT u.subject, u.quota, u.period FROM quota_use AS u
    WHERE u.jurisdiction = $1 AND (u.subject, u.quota, u.period) IN
        (SELECT subject, quota, period FROM given)
        AND (SELECT count(*) FROM refunds) >= 0 AND (SELECT count(*) FROM serials) >= 0
    ORDER BY u.subject, u.quota, u.period
    FOR NO KEY UPDATE
),
rights AS (
    UPDATE quota_use AS u SET used = u.used - g.amount
    FROM (SELECT subject, quota, period, sum(amount) AS amount FROM given GROUP BY 1, 2, 3) AS g
    JOIN right_rows USING (subject, quota, period)
    WHERE u.jurisdiction = $1
        AND u.subject = g.subject AND u.quota = g.quota AND u.period = g.period
    RETURNING 1
),
entries AS (
    INSERT INTO journal (
        jurisdiction, kind, booked_on, booked_at, pool, amount_fen, retailer_id, store_id,
        claim_id, line_no, category, policy, note)
    SELECT $1, 'refund', booking_day($1, $10), $9, pool, -subsidy_fen, $2, store_id, claim_id, line_no, category,
        policy, $8
    FROM line
    ORDER BY line_no
    RETURNING 1
),
locked AS (
    SELECT pool.pool FROM pool
    WHERE pool.jurisdiction = $1 AND pool.pool IN (SELECT line.pool FROM line)
        AND (SELECT count(*) FROM rights) >= 0 AND (SELECT count(*) FROM entries) >= 0
    ORDER BY pool.pool
    FOR NO KEY UPDATE
),
spent AS (
    UPDATE pool SET
        confirmed_fen = pool.confirmed_fen - given_back.fen,
        version = pool.version + 1
    FROM (SELECT line.pool, sum(subsidy_fen) AS fen FROM line GROUP BY line.pool) AS given_back
    JOIN locked ON locked.pool = given_back.pool
    WHERE pool.jurisdiction = $1 AND pool.pool = given_back.pool
    RETURNING pool.pool, allocated_fen, spent_fen, version, bypasses
)
SELECT
    (SELECT subsidy_fen FROM refunds) AS subsidy_fen,
    (SELECT array_agg(claim_id) FROM serials) AS serial_claims,
    (SELECT array_agg(serial_no) FROM serials) AS serial_nos,
    (SELECT array_agg(claim_id) FROM given) AS right_claims,
    (SELECT array_agg(line_no) FROM given) AS right_lines,
    (SELECT array_agg(subject) FROM given) AS right_subjects,
    (SELECT array_agg(quota) FROM given) AS right_quotas,
    (SELECT array_agg(period) FROM given) AS right_periods,
    (SELECT array_agg(pool) FROM spent) AS pools,
    (SELECT array_agg(0) FROM spent) AS parts,
    (SELECT array_agg(allocated_fen) FROM spent) AS allocated_fen,
    (SELECT array_agg(spent_fen) FROM spent) AS spent_fen,
    (SELECT array_agg(version) FROM spent) AS version,
    (SELECT array_agg(bypasses) FROM spent) AS bypasses
