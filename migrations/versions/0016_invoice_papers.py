"""One invoice pays once: every paper stays on record, and from a draft on none is replaced."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# `invoice` stays: one row for a claim whose whole sale has its invoice, and the former release
# writes it. Its triggers hold for both releases: a number that was filed once serves no other
# claim, and no invoice is replaced that a settlement has. `invoice_paper` has every paper, under
# its folded number; `line_invoiced` has the lines whose invoice is not the whole sale's.
PAPERS = """
CREATE TABLE invoice_paper (
    jurisdiction   text NOT NULL,
    number         text NOT NULL,
    code           text NOT NULL,
    claim_id       uuid NOT NULL,
    lines          smallint[],
    red_letter_of  text,
    dated_on       date NOT NULL,
    buyer          text NOT NULL,
    total_fen      bigint NOT NULL,
    file_sha256    bytea,
    recorded_at    timestamptz NOT NULL,
    replaced_at    timestamptz,
    PRIMARY KEY (jurisdiction, number, code),
    CONSTRAINT invoice_paper_sign CHECK ((red_letter_of IS NULL) = (total_fen > 0)),
    CONSTRAINT invoice_paper_lines CHECK (lines IS NULL OR red_letter_of IS NULL)
);

CREATE INDEX invoice_paper_claim_idx ON invoice_paper (claim_id);

CREATE TABLE line_invoiced (
    claim_id      uuid NOT NULL,
    line_no       smallint NOT NULL,
    jurisdiction  text NOT NULL,
    number        text NOT NULL,
    code          text NOT NULL,
    PRIMARY KEY (claim_id, line_no)
);

-- As service/invoices/paper.py folds; 0.1.0 took letters, digits and hyphens.
CREATE FUNCTION folded_invoice(number text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT upper(translate(number, '-', ''))
$$;

CREATE FUNCTION invoice_is_on_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (folded_invoice(NEW.number), folded_invoice(NEW.code))
        <> (folded_invoice(OLD.number), folded_invoice(OLD.code))
    THEN
        INSERT INTO invoice_paper AS p (jurisdiction, number, code, claim_id, dated_on, buyer,
            total_fen, recorded_at, replaced_at)
        VALUES (OLD.jurisdiction, folded_invoice(OLD.number), folded_invoice(OLD.code),
            OLD.claim_id, OLD.dated_on, OLD.buyer, OLD.total_fen, OLD.recorded_at,
            NEW.recorded_at)
        ON CONFLICT (jurisdiction, number, code) DO UPDATE SET replaced_at = excluded.replaced_at
        WHERE p.claim_id = excluded.claim_id;
    END IF;
    INSERT INTO invoice_paper AS p
        (jurisdiction, number, code, claim_id, dated_on, buyer, total_fen, recorded_at)
    VALUES (NEW.jurisdiction, folded_invoice(NEW.number), folded_invoice(NEW.code), NEW.claim_id,
        NEW.dated_on, NEW.buyer, NEW.total_fen, NEW.recorded_at)
    ON CONFLICT (jurisdiction, number, code) DO UPDATE
        SET lines = NULL, dated_on = excluded.dated_on, buyer = excluded.buyer,
            total_fen = excluded.total_fen, recorded_at = excluded.recorded_at, replaced_at = NULL
        WHERE p.claim_id = excluded.claim_id AND p.red_letter_of IS NULL;
    IF NOT FOUND OR EXISTS (SELECT FROM line_invoiced AS l WHERE l.claim_id = NEW.claim_id) THEN
        RAISE EXCEPTION 'this invoice was filed for another sale, or lines of this one have theirs'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'invoice_paper_pkey';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER invoice_on_record AFTER INSERT OR UPDATE ON invoice
    FOR EACH ROW EXECUTE FUNCTION invoice_is_on_record();

-- A draft locks its retailer's row first. So an invoice that is replaced at the same time is
-- replaced before the draft reads it, or not at all.
CREATE FUNCTION invoice_is_free() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.number, NEW.code, NEW.dated_on, NEW.buyer, NEW.total_fen)
        IS NOT DISTINCT FROM (OLD.number, OLD.code, OLD.dated_on, OLD.buyer, OLD.total_fen)
    THEN
        RETURN NEW;
    END IF;
    PERFORM FROM retailer AS r JOIN claim AS c USING (jurisdiction, retailer_id)
        WHERE c.claim_id = OLD.claim_id FOR SHARE OF r;
    IF EXISTS (SELECT FROM settled_entry AS s WHERE s.claim_id = OLD.claim_id) THEN
        RAISE EXCEPTION 'a settlement has this invoice: void its draft first'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_settled';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;

CREATE TRIGGER invoice_free BEFORE UPDATE OR DELETE ON invoice
    FOR EACH ROW EXECUTE FUNCTION invoice_is_free();

-- What a statement shows. Empty in what the former release has drafted: then the invoice and the
-- retailer on record speak.
ALTER TABLE settled_entry ADD COLUMN invoice_no text;

ALTER TABLE voided_entry ADD COLUMN invoice_no text;

CREATE OR REPLACE VIEW settlement_entry AS
SELECT jurisdiction, entry_no, settlement_id, part, claim_id, line_no, amount_fen, invoice_no
FROM settled_entry
UNION ALL
SELECT jurisdiction, entry_no, settlement_id, part, claim_id, line_no, amount_fen, invoice_no
FROM voided_entry;

-- How many claims a draft left out for want of an invoice, and their subsidy.
ALTER TABLE settlement ADD COLUMN uninvoiced_claims bigint, ADD COLUMN uninvoiced_fen bigint,
    ADD COLUMN retailer_name text, ADD COLUMN retailer_uscc text;

ALTER TABLE voided_settlement ADD COLUMN uninvoiced_claims bigint,
    ADD COLUMN uninvoiced_fen bigint, ADD COLUMN retailer_name text,
    ADD COLUMN retailer_uscc text;

CREATE OR REPLACE VIEW settlement_on_record AS
SELECT jurisdiction, settlement_id, retailer_id, kind, from_on, to_on, state, entries, granted_fen,
    refunded_fen, clawed_back_fen, advanced_fen, net_fen, drafted_by, drafted_at, approved_by,
    approved_at, paid_by, paid_at, payment_reference, netted_in, NULL::text AS voided_by,
    NULL::timestamptz AS voided_at, NULL::text AS void_reason, uninvoiced_claims, uninvoiced_fen,
    retailer_name, retailer_uscc
FROM settlement
UNION ALL
SELECT jurisdiction, settlement_id, retailer_id, kind, from_on, to_on, state, entries, granted_fen,
    refunded_fen, clawed_back_fen, advanced_fen, net_fen, drafted_by, drafted_at, approved_by,
    approved_at, paid_by, paid_at, payment_reference, netted_in, voided_by, voided_at, void_reason,
    uninvoiced_claims, uninvoiced_fen, retailer_name, retailer_uscc
FROM voided_settlement;

CREATE FUNCTION settlement_head_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a settlement keeps what its draft said of the retailer and its invoices'
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER settlement_head_frozen BEFORE UPDATE ON settlement FOR EACH ROW
    WHEN ((NEW.uninvoiced_claims, NEW.uninvoiced_fen, NEW.retailer_name, NEW.retailer_uscc)
        IS DISTINCT FROM
        (OLD.uninvoiced_claims, OLD.uninvoiced_fen, OLD.retailer_name, OLD.retailer_uscc))
    EXECUTE FUNCTION settlement_head_is_frozen();
"""


def upgrade() -> None:
    for command in PAPERS.strip().split("\n\n"):
        op.execute(command)
