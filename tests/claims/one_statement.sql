-- Commits a batch of claims in one statement: one transaction, one round trip.
--
-- A claim whose key has a claim already, or whose id is fenced, is left out: its id is not in
-- `committed`, and the caller reads the key's claim. Any other conflict (serial, quota, budget)
-- violates a constraint: the whole statement fails and nothing of the batch is kept.
--
-- THE ORDER OF LOCKS
--
-- Every statement that changes claims or money locks rows in this order, so no two can deadlock:
--
--     claims (finish.sql, refund.sql), keys, serials, quotas, slices of pools, pools
--
-- Within one table the rows are locked in the order of their keys; `chosen` alone has no order,
-- because it never waits. Rows of pools come last because all claims compete for them: a pool's
-- row is locked only shortly before the transaction commits.
--
-- In one statement the order needs a trick. The queries of a WITH clause have no order of their
-- own: each runs when another one reads it. So a query that must wait for `x` sorts a join with
-- `x`, or has a condition on all of `x`, such as `(SELECT count(*) FROM x) >= 0`. The condition is
-- always true, but PostgreSQL must finish `x` before the waiting query can lock its first row.
--
-- The rows of a pool are locked by a query of their own (`locked`, `unspent`), and the UPDATE
-- computes every amount under a constraint from the values that were read under the lock. An UPDATE
-- alone would first compute from the row in the statement's snapshot and check the constraints on
-- that result. It would refuse claims although money came back while it waited for the lock. A
-- chosen slice needs no second reading: its condition was checked on the newest row.
--
-- SLICES
--
-- A pool may have slices (service/pools): extra rows with money of their own, so that the commits
-- of many workers need not wait for one row. For each pool the statement takes one slice that can
-- pay the whole batch and is not locked by another statement. If there is none, it spends from the
-- pool's own row, as it does in a pool without slices. `part` is the number of a slice.
--
-- $1 jurisdiction; $2 claims (new_claim[]; without `expires_at`: confirmed at once);
-- $3 lines (new_line_2[]); $4 serials (new_serial[]); $5 quotas (new_right[]: an old
-- name); $6 whether a claim of the batch has bypassed the gate; $7 recall, for a second run if the
-- first was short: first return the unspent money of all slices to the own row of each pool in the
-- batch, then spend only from own rows
WITH claim_in AS (
    SELECT * FROM unnest($2::new_claim[])
),
booking AS (
    -- A claim is booked on the next open day if its own is closed.
    SELECT own_day, booking_day($1, own_day) AS day
    FROM (SELECT DISTINCT booked_on AS own_day FROM claim_in) AS days
),
ours AS (
    INSERT INTO idempotency_key AS k
        (jurisdiction, retailer_id, idempotency_key, claim_id, fingerprint)
    SELECT $1, retailer_id, idempotency_key, claim_id, fingerprint FROM claim_in
    ORDER BY retailer_id, idempotency_key
    ON CONFLICT (jurisdiction, retailer_id, idempotency_key) DO UPDATE
        SET claim_id = excluded.claim_id, fingerprint = excluded.fingerprint
        WHERE k.claim_id IS NULL AND NOT excluded.claim_id = ANY (k.fenced)
    RETURNING claim_id
),
serials AS (
    INSERT INTO serial_claimed (jurisdiction, serial_no, claim_id, line_no)
    SELECT $1, s.serial_no, s.claim_id, s.line_no
    FROM unnest($4::new_serial[]) AS s
    JOIN ours USING (claim_id)
    ORDER BY s.serial_no
    RETURNING 1
),
quotas AS (
    INSERT INTO quota_use AS q (jurisdiction, subject, quota, period, used, used_max)
    SELECT $1, r.subject, r.quota, r.period, sum(r.amount), min(r.used_max)
    FROM unnest($5::new_right[]) AS r
    JOIN ours USING (claim_id)
    WHERE (SELECT count(*) FROM serials) >= 0
    GROUP BY r.subject, r.quota, r.period
    ORDER BY r.subject, r.quota, r.period
    ON CONFLICT (jurisdiction, subject, quota, period) DO UPDATE
        SET used = q.used + excluded.used, used_max = excluded.used_max
    RETURNING 1
),
claims AS (
    INSERT INTO claim (
        claim_id, jurisdiction, retailer_id, store_id, idempotency_key, order_no, policy, state,
        sold_at, created_at, expires_at, id_type, consumer_digest, consumer_last4, price_fen,
        subsidy_fen, invoice_no, delivery_region)
    SELECT claim_id, $1, retailer_id, store_id, idempotency_key, order_no, policy,
        CASE WHEN expires_at IS NULL THEN 'confirmed' ELSE 'reserved' END,
        sold_at, created_at, expires_at, id_type, consumer_digest, consumer_last4, price_fen,
        subsidy_fen, invoice_no, delivery_region
    FROM claim_in JOIN ours USING (claim_id)
    RETURNING 1
),
line AS (
    -- A pool that does not exist is null here, and claim_line refuses it.
    SELECT l.*, pool.pool AS known_pool, c.retailer_id, c.store_id, c.policy, c.created_at,
        booking.day AS booked_on, c.expires_at IS NOT NULL AS held
    FROM unnest($3::new_line_2[]) AS l
    JOIN claim_in AS c USING (claim_id)
    JOIN booking ON booking.own_day = c.booked_on
    JOIN ours USING (claim_id)
    LEFT JOIN pool ON pool.jurisdiction = $1 AND pool.pool = l.pool
),
lines AS (
    INSERT INTO claim_line (
        claim_id, line_no, category, scheme, pool, state, price_fen, rate_bp, cap_fen,
        subsidy_fen, energy_grade, serial_no, imei, barcode, brand, model, trade_in, quotas, facts)
    SELECT claim_id, line_no, category, scheme, known_pool,
        CASE WHEN held THEN 'reserved' ELSE 'confirmed' END, price_fen, rate_bp, cap_fen,
        subsidy_fen, energy_grade, serial_no, imei, barcode, brand, model, trade_in, quotas, facts
    FROM line
    RETURNING 1
),
entries AS (
    INSERT INTO journal (
        jurisdiction, kind, booked_on, booked_at, pool, amount_fen, retailer_id, store_id,
        claim_id, line_no, category, policy)
    SELECT $1, 'grant', booked_on, created_at, pool, subsidy_fen, retailer_id, store_id,
        claim_id, line_no, category, policy
    FROM line WHERE NOT held
    RETURNING 1
),
taken AS (
    SELECT pool,
        coalesce(sum(subsidy_fen) FILTER (WHERE NOT held), 0) AS confirmed_fen,
        coalesce(sum(subsidy_fen) FILTER (WHERE held), 0) AS reserved_fen
    FROM line GROUP BY pool
),
ready AS (
    SELECT (SELECT count(*) FROM quotas) + (SELECT count(*) FROM claims)
        + (SELECT count(*) FROM lines) + (SELECT count(*) FROM entries) AS rows
),
chosen AS (
    -- Skips the slices that other statements have locked, so it never waits.
    SELECT taken.pool, free.part
    FROM taken, LATERAL (
        SELECT p.part FROM pool_part AS p
        WHERE p.jurisdiction = $1 AND p.pool = taken.pool
            AND p.escrow_fen - p.spent_fen >= taken.confirmed_fen + taken.reserved_fen
        ORDER BY p.part LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS free
    WHERE NOT $7 AND (SELECT rows FROM ready) >= 0
),
unspent AS (
    SELECT p.pool, p.part, p.spent_fen, p.escrow_fen - p.spent_fen AS fen FROM pool_part AS p
    WHERE $7 AND p.jurisdiction = $1 AND p.pool IN (SELECT taken.pool FROM taken)
        AND (SELECT rows FROM ready) >= 0
    ORDER BY p.pool, p.part
    FOR NO KEY UPDATE
),
recalled AS (
    UPDATE pool_part AS p SET escrow_fen = unspent.spent_fen
    FROM unspent
    WHERE p.jurisdiction = $1 AND p.pool = unspent.pool AND p.part = unspent.part
    RETURNING p.pool, unspent.fen
),
locked AS (
    SELECT pool.pool, pool.allocated_fen, pool.escrow_fen, pool.confirmed_fen, pool.reserved_fen
    FROM pool
    WHERE pool.jurisdiction = $1 AND pool.pool IN (SELECT taken.pool FROM taken)
        AND pool.pool NOT IN (SELECT chosen.pool FROM chosen)
        AND (SELECT rows FROM ready) + (SELECT count(*) FROM recalled) >= 0
    ORDER BY pool.pool
    FOR NO KEY UPDATE
),
spent AS (
    UPDATE pool SET
        allocated_fen = locked.allocated_fen, -- the constraint must see the newest value
        escrow_fen = locked.escrow_fen - coalesce(back.fen, 0),
        confirmed_fen = locked.confirmed_fen + taken.confirmed_fen,
        reserved_fen = locked.reserved_fen + taken.reserved_fen,
        version = pool.version + 1,
        bypasses = pool.bypasses + $6::boolean::integer
    FROM taken JOIN locked ON locked.pool = taken.pool
        LEFT JOIN (SELECT pool, sum(fen) AS fen FROM recalled GROUP BY pool) AS back
            ON back.pool = taken.pool
    WHERE pool.jurisdiction = $1 AND pool.pool = taken.pool
    RETURNING pool.pool, 0 AS part, pool.allocated_fen, spent_fen, version, bypasses
),
spent_in_slice AS (
    UPDATE pool_part AS p SET
        confirmed_fen = p.confirmed_fen + taken.confirmed_fen,
        reserved_fen = p.reserved_fen + taken.reserved_fen,
        version = p.version + 1,
        bypasses = p.bypasses + $6::boolean::integer
    FROM taken JOIN chosen ON chosen.pool = taken.pool
    WHERE p.jurisdiction = $1 AND p.pool = taken.pool AND p.part = chosen.part
    RETURNING p.pool, p.part::integer, 0::bigint AS allocated_fen, p.spent_fen, p.version,
        p.bypasses
),
changed AS (SELECT * FROM spent UNION ALL SELECT * FROM spent_in_slice)
SELECT
    (SELECT array_agg(claim_id) FROM ours) AS committed,
    (SELECT array_agg(pool) FROM changed) AS pools,
    (SELECT array_agg(part) FROM changed) AS parts,
    (SELECT array_agg(allocated_fen) FROM changed) AS allocated_fen,
    (SELECT array_agg(spent_fen) FROM changed) AS spent_fen,
    (SELECT array_agg(version) FROM changed) AS version,
    (SELECT array_agg(bypasses) FROM changed) AS bypasses
