-- Copies a draft to the voided settlements, before it is deleted.
--
-- $1 jurisdiction $2 settlement_id $3 voided_by $4 voided_at $5 void_reason
INSERT INTO voided_settlement (
    jurisdiction, settlement_id, retailer_id, kind, from_on, to_on, state, entries,
    granted_fen, refunded_fen, clawed_back_fen, advanced_fen, net_fen, drafted_by, drafted_at,
    voided_by, voided_at, void_reason, uninvoiced_claims, uninvoiced_fen, retailer_name,
    retailer_uscc)
SELECT jurisdiction, settlement_id, retailer_id, kind, from_on, to_on, 'voided', entries,
    granted_fen, refunded_fen, clawed_back_fen, advanced_fen, net_fen, drafted_by, drafted_at,
    $3, $4, $5, uninvoiced_claims, uninvoiced_fen, retailer_name, retailer_uscc
FROM settlement WHERE jurisdiction = $1 AND settlement_id = $2
