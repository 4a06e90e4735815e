-- The claims that a draft leaves out for want of an invoice: how many, and their subsidy in fen.
-- A line that came back counts as none.
--
-- $1 jurisdiction $2 retailer_id $3 first day $4 last day, included
SELECT count(DISTINCT g.claim_id) AS claims, coalesce(sum(g.amount_fen), 0)::bigint AS fen
FROM journal AS g
WHERE g.jurisdiction = $1 AND g.retailer_id = $2 AND g.kind = 'grant'
    AND g.booked_on BETWEEN $3 AND $4
    AND NOT EXISTS (
        SELECT FROM settled_entry AS s
        WHERE s.jurisdiction = g.jurisdiction AND s.entry_no = g.entry_no)
    AND NOT EXISTS (SELECT FROM invoice AS i WHERE i.claim_id = g.claim_id)
    AND NOT EXISTS (
        SELECT FROM line_invoiced AS l WHERE l.claim_id = g.claim_id AND l.line_no = g.line_no)
    AND NOT EXISTS (
        SELECT FROM journal AS r
        WHERE r.jurisdiction = g.jurisdiction AND r.claim_id = g.claim_id
            AND r.line_no = g.line_no AND r.kind = 'refund')
