-- Adds the sums of closed days to pool_day, oldest day first. So the journal's entries of a closed
-- day are read once for this. One worker at a time does it. Returns the number of days left.
--
-- $1 jurisdiction $2 days at most
WITH missing AS (
    SELECT day FROM journal_day
    WHERE jurisdiction = $1 AND day > coalesce(
        (SELECT max(day) FROM pool_day WHERE jurisdiction = $1), '-infinity')
),
filled AS (
    SELECT day FROM missing
    WHERE (SELECT pg_try_advisory_xact_lock(hashtext('pool_day ' || $1::text)))
    ORDER BY day LIMIT $2
),
moved AS (
    SELECT booked_on AS day, pool,
        sum(amount_fen) FILTER (WHERE kind = 'allocation') AS allocated_fen,
        sum(amount_fen) FILTER (WHERE kind <> 'allocation') AS confirmed_fen
    FROM journal
    WHERE jurisdiction = $1
        AND booked_on BETWEEN (SELECT min(day) FROM filled) AND (SELECT max(day) FROM filled)
    GROUP BY booked_on, pool
),
before AS (
    SELECT DISTINCT ON (pool) pool, allocated_fen, confirmed_fen FROM pool_day
    WHERE jurisdiction = $1 ORDER BY pool, day DESC
),
added AS (
    INSERT INTO pool_day (jurisdiction, pool, day, allocated_fen, confirmed_fen)
    SELECT $1, pool.pool, filled.day,
        coalesce(before.allocated_fen, 0) + coalesce(sum(moved.allocated_fen) OVER so_far, 0),
        coalesce(before.confirmed_fen, 0) + coalesce(sum(moved.confirmed_fen) OVER so_far, 0)
    FROM filled
    JOIN pool ON pool.jurisdiction = $1
    LEFT JOIN moved ON moved.day = filled.day AND moved.pool = pool.pool
    LEFT JOIN before ON before.pool = pool.pool
    WINDOW so_far AS (PARTITION BY pool.pool ORDER BY filled.day)
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM missing) - (SELECT count(*) FROM filled)
