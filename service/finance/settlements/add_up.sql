-- Sets the sums of a draft from its entries and the advances that it nets.
--
-- $1 jurisdiction $2 settlement_id
UPDATE settlement AS t SET
    entries = e.entries, granted_fen = e.granted, refunded_fen = e.refunded,
    clawed_back_fen = e.clawed_back, advanced_fen = e.advanced,
    net_fen = e.granted + e.refunded + e.clawed_back - e.advanced
FROM (
    SELECT count(*) AS entries,
        coalesce(sum(amount_fen) FILTER (WHERE part = 'grant'), 0)::bigint AS granted,
        coalesce(sum(amount_fen) FILTER (WHERE part = 'refund'), 0)::bigint AS refunded,
        coalesce(sum(amount_fen) FILTER (WHERE part = 'claw_back'), 0)::bigint AS clawed_back,
        (SELECT coalesce(sum(net_fen), 0)::bigint FROM settlement
            WHERE jurisdiction = $1 AND netted_in = $2) AS advanced
    FROM settled_entry WHERE jurisdiction = $1 AND settlement_id = $2
) AS e
WHERE t.jurisdiction = $1 AND t.settlement_id = $2
