-- Every pool with its sums and its burn, in one snapshot. Reads some dozens of rows per pool,
-- however many claims there are.
--
-- $1 jurisdiction $2 first day $3 start of today $4 least claim_id of the last minute
-- $5 claims to count at most
SELECT pool.pool, allocated_fen, confirmed_fen, reserved_fen, spent_fen, version,
    past.days, past.day_allocated_fen, past.day_confirmed_fen,
    today.read_at, today.read_fen,
    planned.opens_at, planned.opens_fen,
    (SELECT max(day) FROM journal_day WHERE jurisdiction = $1) AS closed_on,
    (SELECT count(*) FROM (
        SELECT FROM claim WHERE claim_id >= $4 AND jurisdiction = $1 LIMIT $5
    ) AS recent) AS claims
FROM pool_total AS pool,
    LATERAL (
        SELECT coalesce(array_agg(d.day ORDER BY d.day), '{}') AS days,
            array_agg(d.allocated_fen ORDER BY d.day) AS day_allocated_fen,
            array_agg(d.confirmed_fen ORDER BY d.day) AS day_confirmed_fen
        FROM pool_day AS d
        WHERE d.jurisdiction = $1 AND d.pool = pool.pool AND d.day >= $2
    ) AS past,
    LATERAL (
        SELECT coalesce(array_agg(r.at ORDER BY r.at), '{}') AS read_at,
            array_agg(r.confirmed_fen ORDER BY r.at) AS read_fen
        FROM pool_reading AS r
        WHERE r.jurisdiction = $1 AND r.pool = pool.pool AND r.at >= $3
    ) AS today,
    LATERAL (
        SELECT coalesce(array_agg(t.opens_at ORDER BY t.opens_at), '{}') AS opens_at,
            array_agg(t.amount_fen ORDER BY t.opens_at) AS opens_fen
        FROM tranche AS t
        WHERE t.jurisdiction = $1 AND t.pool = pool.pool AND t.state = 'planned'
    ) AS planned
WHERE pool.jurisdiction = $1
ORDER BY pool.pool
