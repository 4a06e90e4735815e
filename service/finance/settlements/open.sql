-- Opens a draft without entries. `net_fen` is the amount of an advance, and 0 for a settlement.
--
-- $1 jurisdiction $2 settlement_id $3 retailer_id $4 kind $5 from_on $6 to_on $7 net_fen
-- $8 drafted_by $9 drafted_at $10 uninvoiced_claims $11 uninvoiced_fen
INSERT INTO settlement (
    jurisdiction, settlement_id, retailer_id, kind, from_on, to_on, state, entries,
    granted_fen, refunded_fen, clawed_back_fen, advanced_fen, net_fen, drafted_by, drafted_at,
    uninvoiced_claims, uninvoiced_fen, retailer_name, retailer_uscc)
SELECT $1, $2, $3, $4, $5, $6, 'drafted', 0, 0, 0, 0, 0, $7, $8, $9, $10, $11, name, uscc
FROM retailer WHERE jurisdiction = $1 AND retailer_id = $3
