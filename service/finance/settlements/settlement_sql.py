"""What settlements say to PostgreSQL. $1 is the jurisdiction everywhere."""

# A grant is settled when its claim has an invoice.
INVOICED = "EXISTS (SELECT FROM invoice AS i WHERE i.claim_id = j.claim_id)"
UNSETTLED = """NOT EXISTS (
        SELECT FROM settled_entry AS s
        WHERE s.jurisdiction = j.jurisdiction AND s.entry_no = j.entry_no)"""
GRANTS = f"""
    SELECT j.entry_no, 'grant' AS part, j.claim_id, j.line_no, j.amount_fen FROM journal AS j
    WHERE j.jurisdiction = $1 AND j.retailer_id = $2 AND j.kind = 'grant'
        AND j.booked_on BETWEEN $3 AND $4 AND {INVOICED} AND {UNSETTLED}
"""  # noqa: S608
# Of the grants of this draft, whenever they came.
THEIR_REFUNDS = f"""
    SELECT j.entry_no, 'refund' AS part, j.claim_id, j.line_no, j.amount_fen FROM journal AS j
    JOIN grants AS g ON g.claim_id = j.claim_id AND g.line_no = j.line_no
    WHERE j.jurisdiction = $1 AND j.kind = 'refund' AND {UNSETTLED}
"""  # noqa: S608
# Of grants that an approved settlement has.
CLAW_BACKS = f"""
    SELECT j.entry_no, 'claw_back' AS part, j.claim_id, j.line_no, j.amount_fen FROM journal AS j
    JOIN settled_entry AS g ON g.claim_id = j.claim_id AND g.line_no = j.line_no
        AND g.part = 'grant'
    JOIN settlement AS t ON t.jurisdiction = g.jurisdiction
        AND t.settlement_id = g.settlement_id AND t.state <> 'drafted'
    WHERE j.jurisdiction = $1 AND j.retailer_id = $2 AND j.kind = 'refund' AND {UNSETTLED}
"""  # noqa: S608
FREEZE = "INSERT INTO settled_entry (jurisdiction, settlement_id, entry_no, part, claim_id,"
GATHER = f"""
    WITH grants AS ({GRANTS}), refunds AS ({THEIR_REFUNDS}), claw_backs AS ({CLAW_BACKS}),
    frozen AS (
        SELECT * FROM grants UNION ALL SELECT * FROM refunds UNION ALL SELECT * FROM claw_backs)
    {FREEZE} line_no, amount_fen)
    SELECT $1, $5, entry_no, part, claim_id, line_no, amount_fen FROM frozen
"""  # noqa: S608
GATHER_LATE = f"""
    WITH grants AS (
        SELECT claim_id, line_no FROM settled_entry
        WHERE jurisdiction = $1 AND settlement_id = $2 AND part = 'grant')
    {FREEZE} line_no, amount_fen)
    SELECT $1, $2, entry_no, part, claim_id, line_no, amount_fen FROM ({THEIR_REFUNDS}) AS late
"""  # noqa: S608
WORTH = f"""
    WITH grants AS ({GRANTS})
    SELECT coalesce(sum(amount_fen), 0)::bigint
    FROM (SELECT * FROM grants UNION ALL {THEIR_REFUNDS}) AS entry
"""  # noqa: S608
OPEN = """
    INSERT INTO settlement (
        jurisdiction, settlement_id, retailer_id, kind, from_on, to_on, state, entries,
        granted_fen, refunded_fen, clawed_back_fen, advanced_fen, net_fen, drafted_by, drafted_at)
    VALUES ($1, $2, $3, $4, $5, $6, 'drafted', 0, 0, 0, 0, 0, $7, $8, $9)
"""
ADD_UP = """
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
"""
# An approved one will be paid: were it left out, nothing might be left to net it in by then.
NET_ADVANCES = """
    UPDATE settlement SET netted_in = $3
    WHERE jurisdiction = $1 AND retailer_id = $2 AND kind = 'advance'
        AND state IN ('approved', 'paid') AND netted_in IS NULL
"""
# What drafts have frozen is still due: their approval nets the advance.
DRAFTED_WORTH = """
    SELECT coalesce(sum(net_fen), 0)::bigint FROM settlement
    WHERE jurisdiction = $1 AND retailer_id = $2 AND kind = 'final' AND state = 'drafted'
"""
# Of a draft, in this order: each next one needs the former's.
VOID = (
    "UPDATE settlement SET netted_in = NULL WHERE jurisdiction = $1 AND netted_in = $2",
    "INSERT INTO voided_entry (jurisdiction, settlement_id, entry_no, part, claim_id, line_no,"
    " amount_fen) SELECT jurisdiction, settlement_id, entry_no, part, claim_id, line_no,"
    " amount_fen FROM settled_entry WHERE jurisdiction = $1 AND settlement_id = $2",
    "DELETE FROM settled_entry WHERE jurisdiction = $1 AND settlement_id = $2",
    "DELETE FROM settlement WHERE jurisdiction = $1 AND settlement_id = $2",
)
RECORD_VOID = """
    INSERT INTO voided_settlement (
        jurisdiction, settlement_id, retailer_id, kind, from_on, to_on, state, entries,
        granted_fen, refunded_fen, clawed_back_fen, advanced_fen, net_fen, drafted_by, drafted_at,
        voided_by, voided_at, void_reason)
    SELECT jurisdiction, settlement_id, retailer_id, kind, from_on, to_on, 'voided', entries,
        granted_fen, refunded_fen, clawed_back_fen, advanced_fen, net_fen, drafted_by, drafted_at,
        $3, $4, $5
    FROM settlement WHERE jurisdiction = $1 AND settlement_id = $2
"""
# Whoever drafts or approves for a retailer comes alone; claims do not wait for it.
LOCK_RETAILER = """
    SELECT state FROM retailer WHERE jurisdiction = $1 AND retailer_id = $2 FOR NO KEY UPDATE
"""
