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

-- A number of 20 digits has no code, whatever was sent with it.
CREATE FUNCTION folded_code(number text, code text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN folded_invoice(number) ~ '^[0-9]{20}$' THEN '' ELSE folded_invoice(code) END
$$;

-- With the owner's rights, for `butie migrate` grants those of the service's role at its end.
CREATE FUNCTION invoice_is_on_record() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (folded_invoice(NEW.number), folded_code(NEW.number, NEW.code))
        <> (folded_invoice(OLD.number), folded_code(OLD.number, OLD.code))
    THEN
        INSERT INTO invoice_paper AS p (jurisdiction, number, code, claim_id, dated_on, buyer,
            total_fen, recorded_at, replaced_at)
        VALUES (OLD.jurisdiction, folded_invoice(OLD.number), folded_code(OLD.number, OLD.code),
            OLD.claim_id, OLD.dated_on, OLD.buyer, OLD.total_fen, OLD.recorded_at,
            NEW.recorded_at)
        ON CONFLICT (jurisdiction, number, code) DO UPDATE SET replaced_at = excluded.replaced_at
        WHERE p.claim_id = excluded.claim_id;
    END IF;
    INSERT INTO invoice_paper AS p
        (jurisdiction, number, code, claim_id, dated_on, buyer, total_fen, recorded_at)
    VALUES (NEW.jurisdiction, folded_invoice(NEW.number), folded_code(NEW.number, NEW.code),
        NEW.claim_id, NEW.dated_on, NEW.buyer, NEW.total_fen, NEW.recorded_at)
    ON CONFLICT (jurisdiction, number, code) DO UPDATE
        SET lines = NULL, dated_on = excluded.dated_on, buyer = excluded.buyer,
            total_fen = excluded.total_fen, recorded_at = excluded.recorded_at, replaced_at = NULL
        WHERE p.claim_id = excluded.claim_id AND p.red_letter_of IS NULL;
    -- Without its code, a number of 8 digits may be any invoice of that number. What red-letter
    -- invoices have taken back in full pays no more.
    IF NOT FOUND OR NEW.total_fen + (
            SELECT coalesce(sum(p.total_fen), 0) FROM invoice_paper AS p
            WHERE p.claim_id = NEW.claim_id AND p.replaced_at IS NULL
                AND p.red_letter_of = folded_invoice(NEW.number)) <= 0
        OR EXISTS (SELECT FROM line_invoiced AS l WHERE l.claim_id = NEW.claim_id)
        OR EXISTS (SELECT FROM invoice_paper AS p
            WHERE p.jurisdiction = NEW.jurisdiction AND p.number = folded_invoice(NEW.number)
                AND p.claim_id <> NEW.claim_id
                AND '' IN (p.code, folded_code(NEW.number, NEW.code)))
    THEN
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
CREATE FUNCTION invoice_is_free() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.number, NEW.code, NEW.dated_on, NEW.buyer, NEW.total_fen)
        IS NOT DISTINCT FROM (OLD.number, OLD.code, OLD.dated_on, OLD.buyer, OLD.total_fen)
    THEN
        RETURN NEW;
    END IF;
    PERFORM FROM retailer AS r JOIN claim AS c USING (jurisdiction, retailer_id)
        WHERE c.claim_id = OLD.claim_id FOR SHARE OF r;
    IF EXISTS (SELECT FROM settled_entry AS s WHERE s.claim_id = OLD.claim_id) THEN
        -- As the former release answers: another claim has it.
        RAISE EXCEPTION 'a settlement has this invoice: void its draft first'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'invoice_settled';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;

CREATE TRIGGER invoice_free BEFORE UPDATE OR DELETE ON invoice
    FOR EACH ROW EXECUTE FUNCTION invoice_is_free();

CREATE FUNCTION line_is_free() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM settled_entry AS s
        WHERE s.claim_id = OLD.claim_id AND s.line_no = OLD.line_no)
    THEN
        RAISE EXCEPTION 'a settlement has this invoice: void its draft first'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'invoice_settled';
    END IF;
    RETURN OLD;
END
$$;

CREATE TRIGGER line_invoiced_free BEFORE UPDATE OR DELETE ON line_invoiced
    FOR EACH ROW EXECUTE FUNCTION line_is_free();

CREATE FUNCTION invoice_paper_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an invoice stays on record under its number, for its claim'
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER invoice_paper_kept BEFORE UPDATE ON invoice_paper FOR EACH ROW
    WHEN ((NEW.jurisdiction, NEW.number, NEW.code, NEW.claim_id)
        IS DISTINCT FROM (OLD.jurisdiction, OLD.number, OLD.code, OLD.claim_id))
    EXECUTE FUNCTION invoice_paper_is_kept();

-- What a statement shows. Empty in what was drafted before: then the invoice and the retailer on
-- record speak. Triggers fill it for the former release.
ALTER TABLE settled_entry ADD COLUMN invoice_no text;

ALTER TABLE voided_entry ADD COLUMN invoice_no text;

CREATE FUNCTION entry_has_its_invoice() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    NEW.invoice_no := coalesce(
        (SELECT g.invoice_no FROM settled_entry AS g WHERE g.claim_id = NEW.claim_id
            AND g.line_no = NEW.line_no AND g.invoice_no IS NOT NULL LIMIT 1),
        (SELECT l.number FROM line_invoiced AS l
            WHERE l.claim_id = NEW.claim_id AND l.line_no = NEW.line_no),
        (SELECT i.number FROM invoice AS i WHERE i.claim_id = NEW.claim_id));
    RETURN NEW;
END
$$;

CREATE TRIGGER settled_entry_invoice BEFORE INSERT ON settled_entry FOR EACH ROW
    WHEN (NEW.invoice_no IS NULL) EXECUTE FUNCTION entry_has_its_invoice();

CREATE TRIGGER voided_entry_invoice BEFORE INSERT ON voided_entry FOR EACH ROW
    WHEN (NEW.invoice_no IS NULL) EXECUTE FUNCTION entry_has_its_invoice();

CREATE VIEW statement_entry AS
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

CREATE FUNCTION settlement_has_its_head() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    SELECT r.name, r.uscc INTO NEW.retailer_name, NEW.retailer_uscc FROM retailer AS r
    WHERE r.jurisdiction = NEW.jurisdiction AND r.retailer_id = NEW.retailer_id;
    RETURN NEW;
END
$$;

CREATE TRIGGER settlement_head BEFORE INSERT ON settlement FOR EACH ROW
    WHEN (NEW.retailer_name IS NULL) EXECUTE FUNCTION settlement_has_its_head();

CREATE FUNCTION voided_settlement_has_its_head() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    SELECT s.retailer_name, s.retailer_uscc, s.uninvoiced_claims, s.uninvoiced_fen
    INTO NEW.retailer_name, NEW.retailer_uscc, NEW.uninvoiced_claims, NEW.uninvoiced_fen
    FROM settlement AS s
    WHERE s.jurisdiction = NEW.jurisdiction AND s.settlement_id = NEW.settlement_id;
    RETURN NEW;
END
$$;

CREATE TRIGGER voided_settlement_head BEFORE INSERT ON voided_settlement FOR EACH ROW
    WHEN (NEW.retailer_name IS NULL) EXECUTE FUNCTION voided_settlement_has_its_head();

-- Views of their own: a former release prepares SELECT * of the older ones, and PostgreSQL refuses
-- a prepared statement whose columns have changed.
CREATE VIEW settlement_recorded AS
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
