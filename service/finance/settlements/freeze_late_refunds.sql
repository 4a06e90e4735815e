-- Adds the refunds that were booked since the draft, of the grants in it.
--
-- $1 jurisdiction $2 settlement_id
INSERT INTO settled_entry (
    jurisdiction, settlement_id, entry_no, part, claim_id, line_no, amount_fen, invoice_no)
SELECT $1, $2, j.entry_no, 'refund', j.claim_id, j.line_no, j.amount_fen, g.invoice_no
FROM settled_entry AS g
JOIN journal AS j ON j.claim_id = g.claim_id AND j.line_no = g.line_no
WHERE g.jurisdiction = $1 AND g.settlement_id = $2 AND g.part = 'grant'
    AND j.jurisdiction = $1 AND j.kind = 'refund' AND NOT EXISTS (
        SELECT FROM settled_entry AS s
        WHERE s.jurisdiction = j.jurisdiction AND s.entry_no = j.entry_no)
