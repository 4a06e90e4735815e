-- Moves money of one pool to its slices, so that each has its share left. A slice that another
-- transaction has locked is skipped: the next pass fills it.
--
-- $1 jurisdiction $2 pool $3 number of slices $4 share of a slice, fen
WITH short AS (
    SELECT p.part, $4 - (p.escrow_fen - p.spent_fen) AS fen FROM pool_part AS p
    WHERE p.jurisdiction = $1 AND p.pool = $2 AND p.part <= $3
        AND p.escrow_fen - p.spent_fen < $4
    ORDER BY p.part
    FOR NO KEY UPDATE SKIP LOCKED
),
filled AS (
    UPDATE pool_part AS p SET escrow_fen = p.escrow_fen + short.fen
    FROM short
    WHERE p.jurisdiction = $1 AND p.pool = $2 AND p.part = short.part
    RETURNING short.fen
)
UPDATE pool SET escrow_fen = pool.escrow_fen + total.fen
FROM (SELECT coalesce(sum(fen), 0) AS fen FROM filled) AS total
WHERE pool.jurisdiction = $1 AND pool.pool = $2
