-- Ends holds in one statement: those that were asked for, and those that are due.
--
-- A hold that is confirmed becomes grants in the journal; one that is cancelled or expires gives
-- its serials, rights and money back. What is no longer reserved stays as it is, so confirm,
-- cancel and expiry may race: the claim's row lock lets one of them win.
--
-- Locks are taken in commit.sql's order, the claims' own rows first and the pools' last.
--
-- $1 jurisdiction; what is asked, a column an array: $2 claim_id $3 retailer_id $4 to_state
-- ('confirmed' or 'cancelled'); $5 now; $6 booked_on; $7 how many due holds to end beside
WITH asked AS (
    SELECT c.claim_id, w.to_state
    FROM claim AS c
    JOIN unnest($2::uuid[], $3::text[], $4::text[]) AS w (claim_id, retailer_id, to_state)
        ON w.claim_id = c.claim_id AND w.retailer_id = c.retailer_id
    WHERE c.jurisdiction = $1 AND c.state = 'reserved'
        AND (w.to_state <> 'confirmed' OR c.expires_at > $5)
    ORDER BY c.claim_id
    FOR NO KEY UPDATE OF c
),
due AS (
    SELECT claim_id, 'expired' AS to_state
    FROM claim
    WHERE jurisdiction = $1 AND state = 'reserved' AND expires_at <= $5
    ORDER BY expires_at
    LIMIT $7
    FOR NO KEY UPDATE SKIP LOCKED
),
ended AS (
    UPDATE claim AS c SET state = e.to_state
    FROM (SELECT * FROM asked UNION ALL SELECT * FROM due) AS e
    WHERE c.claim_id = e.claim_id AND c.state = 'reserved'
    RETURNING c.claim_id, c.retailer_id, c.store_id, c.policy, c.state
),
line AS (
    UPDATE claim_line AS l SET state = e.state
    FROM ended AS e WHERE l.claim_id = e.claim_id
    RETURNING l.claim_id, l.line_no, l.category, l.pool, l.subsidy_fen, l.quotas, l.state,
        e.retailer_id, e.store_id, e.policy
),
serials AS (
    DELETE FROM serial_claimed AS s USING ended AS e
    WHERE s.claim_id = e.claim_id AND s.jurisdiction = $1 AND e.state <> 'confirmed'
    RETURNING s.claim_id, s.serial_no
),
given AS (
    SELECT l.claim_id, l.line_no, decode(q.subject, 'hex') AS subject, q.quota, q.period, q.amount
    FROM line AS l, jsonb_to_recordset(l.quotas)
        AS q (subject text, quota text, period text, amount bigint)
    WHERE l.state <> 'confirmed'
),
right_rows AS (
    SELECT u.subject, u.quota, u.period FROM quota_use AS u
    WHERE u.jurisdiction = $1 AND (u.subject, u.quota, u.period) IN
        (SELECT subject, quota, period FROM given)
        AND (SELECT count(*) FROM serials) >= 0
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
        claim_id, line_no, category, policy)
    SELECT $1, 'grant', booking_day($1, $6), $5, pool, subsidy_fen, retailer_id, store_id, claim_id, line_no,
        category, policy
    FROM line WHERE state = 'confirmed'
    ORDER BY claim_id, line_no
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
        reserved_fen = pool.reserved_fen - given_back.all_fen,
        confirmed_fen = pool.confirmed_fen + given_back.confirmed_fen,
        version = pool.version + 1
    FROM (
        SELECT line.pool, sum(subsidy_fen) AS all_fen,
            coalesce(sum(subsidy_fen) FILTER (WHERE state = 'confirmed'), 0) AS confirmed_fen
        FROM line GROUP BY line.pool
    ) AS given_back JOIN locked ON locked.pool = given_back.pool
    WHERE pool.jurisdiction = $1 AND pool.pool = given_back.pool
    RETURNING pool.pool, allocated_fen, spent_fen, version, bypasses
)
SELECT
    (SELECT array_agg(claim_id) FROM ended) AS ended,
    (SELECT array_agg(retailer_id) FROM ended) AS owners,
    (SELECT count(*) FROM ended WHERE state = 'expired') AS expired,
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
