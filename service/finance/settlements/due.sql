-- The entries that are due to a retailer for a period: what a draft freezes, each with its role.
--
-- $1 jurisdiction $2 retailer_id $3 first day $4 last day, included
WITH unsettled AS NOT MATERIALIZED (
    SELECT j.* FROM journal AS j
    WHERE j.jurisdiction = $1 AND NOT EXISTS (
        SELECT FROM settled_entry AS s
        WHERE s.jurisdiction = j.jurisdiction AND s.entry_no = j.entry_no)
),
grants AS (
    -- A grant is settled only when its line has an invoice.
    SELECT u.entry_no, 'grant' AS part, u.claim_id, u.line_no, u.amount_fen,
        coalesce(l.number, i.number) AS invoice_no
    FROM unsettled AS u
    LEFT JOIN invoice AS i ON i.claim_id = u.claim_id
    LEFT JOIN line_invoiced AS l ON l.claim_id = u.claim_id AND l.line_no = u.line_no
    WHERE u.retailer_id = $2 AND u.kind = 'grant' AND u.booked_on BETWEEN $3 AND $4
        AND coalesce(l.number, i.number) IS NOT NULL
),
refunds AS (
    -- The refunds of these grants, on whatever day they were booked.
    SELECT u.entry_no, 'refund' AS part, u.claim_id, u.line_no, u.amount_fen, g.invoice_no
    FROM unsettled AS u
    JOIN grants AS g ON g.claim_id = u.claim_id AND g.line_no = u.line_no
    WHERE u.kind = 'refund'
),
claw_backs AS (
    -- The refunds of grants in a settlement that is approved or paid.
    SELECT u.entry_no, 'claw_back' AS part, u.claim_id, u.line_no, u.amount_fen,
        coalesce(g.invoice_no, i.number) AS invoice_no
    FROM unsettled AS u
    JOIN settled_entry AS g ON g.claim_id = u.claim_id AND g.line_no = u.line_no
        AND g.part = 'grant'
    JOIN settlement AS t ON t.jurisdiction = g.jurisdiction
        AND t.settlement_id = g.settlement_id AND t.state <> 'drafted'
    LEFT JOIN invoice AS i ON i.claim_id = u.claim_id
    WHERE u.retailer_id = $2 AND u.kind = 'refund'
)
SELECT * FROM grants UNION ALL SELECT * FROM refunds UNION ALL SELECT * FROM claw_backs
