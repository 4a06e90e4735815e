-- The end of finish.sql and of refund.sql: what lines give back, the pools' sums, the result. The
-- module give_back.py appends this text to theirs. It is no SQL function, because the statements of
-- a function have snapshots of their own and would see other rows than the rest of the statement.
--
-- `line` has the lines that changed, with the `state` that each has now; `entries` writes the
-- journal; `head` is one row, the statement's own columns of the result.
--
-- Lock order: commit_claims.sql, from the serials on.
serials AS (
    DELETE FROM serial_claimed AS s USING line
    WHERE s.jurisdiction = $1 AND s.claim_id = line.claim_id AND s.line_no = line.line_no
        AND line.state <> 'confirmed'
    RETURNING s.claim_id, s.serial_no
),
returned AS (
    -- A refund does not give back a quota that is used up for ever (`restored` is false).
    SELECT line.claim_id, line.line_no, decode(q.subject, 'hex') AS subject, q.quota, q.period,
        q.amount
    FROM line, jsonb_to_recordset(line.quotas)
        AS q (subject text, quota text, period text, amount bigint, restored boolean)
    WHERE line.state <> 'confirmed' AND (line.state <> 'refunded' OR q.restored IS NOT FALSE)
),
quota_rows AS (
    SELECT u.subject, u.quota, u.period FROM quota_use AS u
    WHERE u.jurisdiction = $1 AND (u.subject, u.quota, u.period) IN
        (SELECT subject, quota, period FROM returned)
        AND (SELECT count(*) FROM head) >= 0 AND (SELECT count(*) FROM serials) >= 0
    ORDER BY u.subject, u.quota, u.period
    FOR NO KEY UPDATE
),
quotas AS (
    UPDATE quota_use AS u SET used = u.used - r.amount
    FROM (
        SELECT subject, quota, period, sum(amount) AS amount FROM returned GROUP BY 1, 2, 3
    ) AS r
    JOIN quota_rows USING (subject, quota, period)
    WHERE u.jurisdiction = $1
        AND u.subject = r.subject AND u.quota = r.quota AND u.period = r.period
    RETURNING 1
),
locked AS (
    SELECT pool.pool FROM pool
    WHERE pool.jurisdiction = $1 AND pool.pool IN (SELECT line.pool FROM line)
        AND (SELECT count(*) FROM quotas) >= 0 AND (SELECT count(*) FROM entries) >= 0
    ORDER BY pool.pool
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE pool SET
        reserved_fen = pool.reserved_fen - line_sum.ended_fen,
        confirmed_fen = pool.confirmed_fen + line_sum.confirmed_fen - line_sum.refunded_fen,
        version = pool.version + 1
    FROM (
        SELECT line.pool,
            coalesce(sum(subsidy_fen) FILTER (WHERE state <> 'refunded'), 0) AS ended_fen,
            coalesce(sum(subsidy_fen) FILTER (WHERE state = 'confirmed'), 0) AS confirmed_fen,
            coalesce(sum(subsidy_fen) FILTER (WHERE state = 'refunded'), 0) AS refunded_fen
        FROM line GROUP BY line.pool
    ) AS line_sum JOIN locked ON locked.pool = line_sum.pool
    WHERE pool.jurisdiction = $1 AND pool.pool = line_sum.pool
    RETURNING pool.pool, allocated_fen, spent_fen, version, bypasses
)
SELECT head.*,
    (SELECT array_agg(claim_id) FROM serials) AS serial_claims,
    (SELECT array_agg(serial_no) FROM serials) AS serial_nos,
    (SELECT array_agg(claim_id) FROM returned) AS quota_claims,
    (SELECT array_agg(line_no) FROM returned) AS quota_lines,
    (SELECT array_agg(subject) FROM returned) AS quota_subjects,
    (SELECT array_agg(quota) FROM returned) AS quota_names,
    (SELECT array_agg(period) FROM returned) AS quota_periods,
    (SELECT array_agg(pool) FROM changed) AS pools,
    (SELECT array_agg(0) FROM changed) AS parts,
    (SELECT array_agg(allocated_fen) FROM changed) AS allocated_fen,
    (SELECT array_agg(spent_fen) FROM changed) AS spent_fen,
    (SELECT array_agg(version) FROM changed) AS version,
    (SELECT array_agg(bypasses) FROM changed) AS bypasses
FROM head
