-- Commits a batch of claims: one call, one transaction, one round trip. Migration 0020 makes this
-- function. Once released, the former release calls it during an upgrade, so it never changes: a
-- release that needs another writes `commit_claims_2` in a file of its own.
--
-- A claim whose key has a claim already, or whose id is fenced, is left out: the caller reads the
-- key's claim. Any other conflict (serial, quota, budget) violates a constraint: the call fails and
-- nothing of the batch is kept.
--
-- THE ORDER OF LOCKS
--
-- Every statement that changes claims or money locks rows in this order, so no two can deadlock:
--
--     claims (finish.sql, refund.sql), keys, serials, quotas, slices of pools, pools
--
-- Within one table the rows are locked in the order of their keys. A slice that is chosen to pay
-- has no order, because it is never waited for. Rows of pools come last because all claims compete
-- for them: a pool's row is locked only shortly before the transaction commits.
--
-- Here the order is that of the statements. finish.sql and refund.sql are one statement each, and
-- there the order needs a trick. The queries of a WITH clause have no order of their own: each runs
-- when another one reads it. So a query that must wait for `x` has a condition on all of `x`, such
-- as `(SELECT count(*) FROM x) >= 0`. The condition is always true, but PostgreSQL must finish `x`
-- before the waiting query can lock its first row.
--
-- WHAT EACH STATEMENT SEES
--
-- At READ COMMITTED each statement of the function sees what was committed before it began. An
-- UPDATE that waits for a row computes first from the version in its snapshot, and checks the
-- constraints on that. It would refuse claims although money came back while it waited. So a row of
-- a pool is locked by a statement of its own. The UPDATE is the next statement: its snapshot has the
-- version that was locked, which is the newest, and no one can change the row before it.
--
-- SLICES
--
-- A pool may have slices (service/pools): extra rows with money of their own, so that the commits
-- of many workers need not wait for one row. For each pool the function takes one slice that can
-- pay the whole batch and is not locked by another transaction. If there is none, it spends from the
-- pool's own row, as it does in a pool without slices. `part` is the number of a slice.
--
-- ARGUMENTS
--
-- place     the jurisdiction
-- claims    without `expires_at`: confirmed at once
-- bypassed  whether a claim of the batch has bypassed the gate
-- recall    for a second call if the first was short: first return the unspent money of all slices
--           to the own row of each pool in the batch, then spend only from own rows
--
-- The result: `left_out`, the ids of claims that were not committed, or null; `pools`, the rows of
-- pools as they are now, `part` 0 for a pool's own row.
--
-- It runs with the caller's privileges and search_path: to set a path would cost each call.
CREATE FUNCTION commit_claims(
    place text, claims new_claim[], lines new_line_2[], serials new_serial[], quotas new_right[],
    bypassed boolean, recall boolean
) RETURNS commit_result LANGUAGE plpgsql AS $$
DECLARE
    kept_id uuid;
    kept uuid[] := '{}';
    left_out uuid[];
    held uuid[];
    days date[];
    own_day date;
    open_day date;
    taken new_spending;
    to_spend new_spending[] := '{}';
    free smallint;
    unspent record;
    changed changed_pool;
    pools changed_pool[];
BEGIN
    -- Keys.
    FOR kept_id IN
        INSERT INTO idempotency_key AS k
            (jurisdiction, retailer_id, idempotency_key, claim_id, fingerprint)
        SELECT place, c.retailer_id, c.idempotency_key, c.claim_id, c.fingerprint
        FROM unnest(claims) AS c
        ORDER BY c.retailer_id, c.idempotency_key
        ON CONFLICT (jurisdiction, retailer_id, idempotency_key) DO UPDATE
            SET claim_id = excluded.claim_id, fingerprint = excluded.fingerprint
            WHERE k.claim_id IS NULL AND NOT excluded.claim_id = ANY (k.fenced)
        RETURNING k.claim_id
    LOOP
        kept := kept || kept_id;
    END LOOP;
    IF cardinality(kept) < cardinality(claims) THEN
        left_out := ARRAY(
            SELECT c.claim_id FROM unnest(claims) AS c WHERE c.claim_id <> ALL (kept));
        IF kept = '{}' THEN
            RETURN (left_out, pools)::commit_result;
        END IF;
        claims := ARRAY(SELECT c FROM unnest(claims) AS c WHERE c.claim_id = ANY (kept));
        lines := ARRAY(SELECT l FROM unnest(lines) AS l WHERE l.claim_id = ANY (kept));
        serials := ARRAY(SELECT s FROM unnest(serials) AS s WHERE s.claim_id = ANY (kept));
        quotas := ARRAY(SELECT q FROM unnest(quotas) AS q WHERE q.claim_id = ANY (kept));
    END IF;

    -- Serials.
    INSERT INTO serial_claimed (jurisdiction, serial_no, claim_id, line_no)
    SELECT place, s.serial_no, s.claim_id, s.line_no
    FROM unnest(serials) AS s
    ORDER BY s.serial_no;

    -- Quotas.
    INSERT INTO quota_use AS u (jurisdiction, subject, quota, period, used, used_max)
    SELECT place, q.subject, q.quota, q.period, sum(q.amount), min(q.used_max)
    FROM unnest(quotas) AS q
    GROUP BY q.subject, q.quota, q.period
    ORDER BY q.subject, q.quota, q.period
    ON CONFLICT (jurisdiction, subject, quota, period) DO UPDATE
        SET used = u.used + excluded.used, used_max = excluded.used_max;

    -- Claims and lines.
    INSERT INTO claim (
        claim_id, jurisdiction, retailer_id, store_id, idempotency_key, order_no, policy, state,
        sold_at, created_at, expires_at, id_type, consumer_digest, consumer_last4, price_fen,
        subsidy_fen, invoice_no, delivery_region)
    SELECT c.claim_id, place, c.retailer_id, c.store_id, c.idempotency_key, c.order_no, c.policy,
        CASE WHEN c.expires_at IS NULL THEN 'confirmed' ELSE 'reserved' END,
        c.sold_at, c.created_at, c.expires_at, c.id_type, c.consumer_digest, c.consumer_last4,
        c.price_fen, c.subsidy_fen, c.invoice_no, c.delivery_region
    FROM unnest(claims) AS c;

    SELECT coalesce(array_agg(c.claim_id) FILTER (WHERE c.expires_at IS NOT NULL), '{}'),
        coalesce(array_agg(DISTINCT c.booked_on) FILTER (WHERE c.expires_at IS NULL), '{}')
    INTO held, days
    FROM unnest(claims) AS c;
    INSERT INTO claim_line (
        claim_id, line_no, category, scheme, pool, state, price_fen, rate_bp, cap_fen,
        subsidy_fen, energy_grade, serial_no, imei, barcode, brand, model, trade_in, quotas, facts)
    SELECT l.claim_id, l.line_no, l.category, l.scheme, l.pool,
        CASE WHEN l.claim_id = ANY (held) THEN 'reserved' ELSE 'confirmed' END,
        l.price_fen, l.rate_bp, l.cap_fen, l.subsidy_fen, l.energy_grade, l.serial_no, l.imei,
        l.barcode, l.brand, l.model, l.trade_in, l.quotas, l.facts
    FROM unnest(lines) AS l;

    -- The journal. A claim is booked on the next open day if its own is closed.
    FOREACH own_day IN ARRAY days LOOP
        open_day := booking_day(place, own_day);
        INSERT INTO journal (
            jurisdiction, kind, booked_on, booked_at, pool, amount_fen, retailer_id, store_id,
            claim_id, line_no, category, policy)
        SELECT place, 'grant', open_day, c.created_at, l.pool, l.subsidy_fen, c.retailer_id,
            c.store_id, c.claim_id, l.line_no, l.category, c.policy
        FROM unnest(lines) AS l JOIN unnest(claims) AS c USING (claim_id)
        WHERE c.expires_at IS NULL AND c.booked_on = own_day;
    END LOOP;

    -- Slices of pools. All of them are locked before the first pool's own row.
    FOR taken IN
        SELECT l.pool,
            coalesce(sum(l.subsidy_fen) FILTER (WHERE NOT l.claim_id = ANY (held)), 0),
            coalesce(sum(l.subsidy_fen) FILTER (WHERE l.claim_id = ANY (held)), 0),
            0
        FROM unnest(lines) AS l
        GROUP BY l.pool ORDER BY l.pool
    LOOP
        IF recall THEN
            FOR unspent IN
                SELECT p.part, p.escrow_fen - p.spent_fen AS fen FROM pool_part AS p
                WHERE p.jurisdiction = place AND p.pool = taken.pool
                ORDER BY p.part
                FOR NO KEY UPDATE
            LOOP
                UPDATE pool_part AS p SET escrow_fen = p.escrow_fen - unspent.fen
                WHERE p.jurisdiction = place AND p.pool = taken.pool AND p.part = unspent.part;
                taken.recalled_fen := taken.recalled_fen + unspent.fen;
            END LOOP;
        ELSE
            SELECT p.part INTO free FROM pool_part AS p
            WHERE p.jurisdiction = place AND p.pool = taken.pool
                AND p.escrow_fen - p.spent_fen >= taken.confirmed_fen + taken.reserved_fen
            ORDER BY p.part LIMIT 1
            FOR NO KEY UPDATE SKIP LOCKED;
            IF FOUND THEN
                UPDATE pool_part AS p SET
                    confirmed_fen = p.confirmed_fen + taken.confirmed_fen,
                    reserved_fen = p.reserved_fen + taken.reserved_fen,
                    version = p.version + 1,
                    bypasses = p.bypasses + bypassed::integer
                WHERE p.jurisdiction = place AND p.pool = taken.pool AND p.part = free
                RETURNING p.pool, p.part, 0, p.spent_fen, p.version, p.bypasses INTO changed;
                pools := pools || changed;
                CONTINUE;
            END IF;
        END IF;
        to_spend := to_spend || taken;
    END LOOP;

    -- The pools' own rows. All of them are locked, and known to exist, before one is short.
    FOREACH taken IN ARRAY to_spend LOOP
        PERFORM 1 FROM pool AS p WHERE p.jurisdiction = place AND p.pool = taken.pool
        FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RAISE foreign_key_violation USING MESSAGE = 'there is no pool ' || taken.pool;
        END IF;
    END LOOP;
    FOREACH taken IN ARRAY to_spend LOOP
        UPDATE pool AS p SET
            escrow_fen = p.escrow_fen - taken.recalled_fen,
            confirmed_fen = p.confirmed_fen + taken.confirmed_fen,
            reserved_fen = p.reserved_fen + taken.reserved_fen,
            version = p.version + 1,
            bypasses = p.bypasses + bypassed::integer
        WHERE p.jurisdiction = place AND p.pool = taken.pool
        RETURNING p.pool, 0, p.allocated_fen, p.spent_fen, p.version, p.bypasses INTO changed;
        pools := pools || changed;
    END LOOP;

    RETURN (left_out, pools)::commit_result;
END
$$
