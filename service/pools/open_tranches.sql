-- Opens the tranches that are due, in one statement. Each becomes an allocation in the journal and
-- raises its pool. Another worker's pass skips the rows that this one has locked, so no tranche
-- opens twice.
--
-- $1 jurisdiction $2 now $3 booked_on $4 tranches at most
WITH due AS (
    SELECT tranche_id FROM tranche
    WHERE jurisdiction = $1 AND state = 'planned' AND opens_at <= $2
    ORDER BY opens_at
    LIMIT $4
    FOR UPDATE SKIP LOCKED
),
opened AS (
    UPDATE tranche AS t SET state = 'opened', ended_at = $2
    FROM due
    WHERE t.jurisdiction = $1 AND t.tranche_id = due.tranche_id
    RETURNING t.tranche_id, t.pool, t.amount_fen, t.document_no
),
entries AS (
    INSERT INTO journal (
        jurisdiction, kind, booked_on, booked_at, pool, amount_fen, document_no, note)
    SELECT $1, 'allocation', booking_day($1, $3), $2, pool, amount_fen, document_no, 'tranche ' || tranche_id
    FROM opened
    RETURNING 1
),
acts AS (
    INSERT INTO admin_act (jurisdiction, at, actor, act, subject_kind, subject_id, before, after)
    SELECT $1, $2, 'clock', 'tranche.open', 'tranche', tranche_id::text,
        '{"state": "planned"}', '{"state": "opened"}'
    FROM opened
    RETURNING 1
),
locked AS (
    SELECT pool.pool FROM pool
    WHERE pool.jurisdiction = $1 AND pool.pool IN (SELECT opened.pool FROM opened)
        AND (SELECT count(*) FROM entries) >= 0 AND (SELECT count(*) FROM acts) >= 0
    ORDER BY pool.pool
    FOR NO KEY UPDATE
),
raised AS (
    UPDATE pool SET allocated_fen = pool.allocated_fen + total.fen, version = pool.version + 1
    FROM (SELECT opened.pool, sum(amount_fen) AS fen FROM opened GROUP BY opened.pool) AS total
    JOIN locked ON locked.pool = total.pool
    WHERE pool.jurisdiction = $1 AND pool.pool = total.pool
    RETURNING 1
)
SELECT count(*) FROM opened
