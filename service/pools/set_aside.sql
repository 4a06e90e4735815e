-- Sets money of one pool aside for its parts, so that each has its share to spend again. Parts that
-- are just being spent from are left for the next pass.
--
-- $1 jurisdiction $2 pool $3 how many parts $4 a part's share, fen
WITH wanting AS (
    SELECT p.part, $4 - (p.escrow_fen - p.spent_fen) AS fen FROM pool_part AS p
    WHERE p.jurisdiction = $1 AND p.pool = $2 AND p.part <= $3
        AND p.escrow_fen - p.spent_fen < $4
    ORDER BY p.part
    FOR NO KEY UPDATE SKIP LOCKED
),
given AS (
    UPDATE pool_part AS p SET escrow_fen = p.escrow_fen + wanting.fen
    FROM wanting
    WHERE p.jurisdiction = $1 AND p.pool = $2 AND p.part = wanting.part
    RETURNING wanting.fen
)
UPDATE pool SET escrow_fen = pool.escrow_fen + total.fen
FROM (SELECT coalesce(sum(fen), 0) AS fen FROM given) AS total
WHERE pool.jurisdiction = $1 AND pool.pool = $2
