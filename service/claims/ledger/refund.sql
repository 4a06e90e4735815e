-- Refunds lines of a confirmed claim, all that are named or none, in one statement.
--
-- The row in `refund` counts the lines that were really taken back. If one could not be (it was
-- refunded before), the constraint `refund_is_whole` fails and nothing is kept. A repeat of the
-- same Idempotency-Key violates the primary key, and the caller then reads that key's refund.
-- What the lines give back: give_back.sql, the end of this statement.
--
-- Lock order: commit_claims.sql, but the claim's own row first of all.
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
    RETURNING l.claim_id, l.line_no, l.category, l.pool, l.subsidy_fen, l.quotas, l.state,
        t.store_id, t.policy
),
head AS (
    INSERT INTO refund (
        jurisdiction, retailer_id, idempotency_key, fingerprint, refund_id, claim_id, lines,
        lines_refunded, reason, subsidy_fen, created_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, count(*), $8, coalesce(sum(subsidy_fen), 0), $9 FROM line
    RETURNING subsidy_fen
),
entries AS (
    INSERT INTO journal (
        jurisdiction, kind, booked_on, booked_at, pool, amount_fen, retailer_id, store_id,
        claim_id, line_no, category, policy, note)
    SELECT $1, 'refund', booking_day($1, $10), $9, pool, -subsidy_fen, $2, store_id, claim_id,
        line_no, category, policy, $8
    FROM line
    ORDER BY line_no
    RETURNING 1
),
