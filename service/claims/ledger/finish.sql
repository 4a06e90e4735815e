-- Ends holds in one statement: those that retailers ask for, and those that are due.
--
-- A confirmed hold becomes grants in the journal. A cancelled or expired hold gives back its
-- serials, quotas and money (give_back.sql, the end of this statement). A claim that is no longer
-- reserved stays as it is. So confirm, cancel and expiry may race: the lock on the claim's row lets
-- one win.
--
-- Lock order: commit_claims.sql, but the claims' own rows first of all.
--
-- $1 jurisdiction; the endings, a column an array: $2 claim_id $3 retailer_id $4 to_state
-- ('confirmed' or 'cancelled'); $5 now; $6 booked_on; $7 due holds to end besides, at most
WITH asked AS (
    SELECT c.claim_id, e.to_state
    FROM claim AS c
    JOIN unnest($2::uuid[], $3::text[], $4::text[]) AS e (claim_id, retailer_id, to_state)
        ON e.claim_id = c.claim_id AND e.retailer_id = c.retailer_id
    WHERE c.jurisdiction = $1 AND c.state = 'reserved'
        AND (e.to_state <> 'confirmed' OR c.expires_at > $5)
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
entries AS (
    INSERT INTO journal (
        jurisdiction, kind, booked_on, booked_at, pool, amount_fen, retailer_id, store_id,
        claim_id, line_no, category, policy)
    SELECT $1, 'grant', booking_day($1, $6), $5, pool, subsidy_fen, retailer_id, store_id,
        claim_id, line_no, category, policy
    FROM line WHERE state = 'confirmed'
    ORDER BY claim_id, line_no
    RETURNING 1
),
head AS (
    SELECT
        (SELECT array_agg(claim_id) FROM ended) AS ended,
        (SELECT array_agg(retailer_id) FROM ended) AS owners,
        (SELECT count(*) FROM ended WHERE state = 'expired') AS expired
),
