-- Copies the entries of a draft to the voided ones, before they are deleted.
--
-- $1 jurisdiction $2 settlement_id
INSERT INTO voided_entry (
    jurisdiction, settlement_id, entry_no, part, claim_id, line_no, amount_fen, invoice_no)
SELECT jurisdiction, settlement_id, entry_no, part, claim_id, line_no, amount_fen, invoice_no
FROM settled_entry WHERE jurisdiction = $1 AND settlement_id = $2
