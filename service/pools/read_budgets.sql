-- Every pool with its planned tranches. The view `pool_total` sums the pool's own row and its slices.
--
-- $1 jurisdiction
SELECT pool.pool, allocated_fen, confirmed_fen, reserved_fen,
    allocated_fen - spent_fen AS remaining_fen, version, planned.fen AS planned_fen,
    planned.next_opens_at
FROM pool_total AS pool, LATERAL (
    SELECT coalesce(sum(t.amount_fen), 0)::bigint AS fen, min(t.opens_at) AS next_opens_at
    FROM tranche AS t
    WHERE t.jurisdiction = $1 AND t.pool = pool.pool AND t.state = 'planned'
) AS planned
WHERE pool.jurisdiction = $1
ORDER BY pool.pool
