"""A draft that was made in error can be withdrawn, and stays on record."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Tables of their own: what is settled, and once, stays what `settled_entry` has, and the former
# release does not meet a state that it does not know.
VOIDED = """
CREATE TABLE voided_settlement (
    LIKE settlement,
    voided_by    text NOT NULL,
    voided_at    timestamptz NOT NULL,
    void_reason  text NOT NULL,
    PRIMARY KEY (jurisdiction, settlement_id),
    CONSTRAINT voided_settlement_was_a_draft CHECK (state = 'voided' AND approved_by IS NULL)
);

CREATE TABLE voided_entry (
    LIKE settled_entry,
    PRIMARY KEY (jurisdiction, settlement_id, entry_no),
    CONSTRAINT voided_entry_settlement_fkey
        FOREIGN KEY (jurisdiction, settlement_id) REFERENCES voided_settlement
);

CREATE TRIGGER voided_settlement_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON voided_settlement FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();

CREATE TRIGGER voided_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON voided_entry FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();

CREATE VIEW settlement_on_record AS
SELECT *, NULL::text AS voided_by, NULL::timestamptz AS voided_at, NULL::text AS void_reason
FROM settlement
UNION ALL
SELECT * FROM voided_settlement;

CREATE VIEW settlement_entry AS
SELECT * FROM settled_entry UNION ALL SELECT * FROM voided_entry;

-- An entry is free again only when its settlement is a draft, and only once that is on record.
CREATE FUNCTION settled_entry_is_voided() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
            SELECT FROM voided_entry AS v
            WHERE v.jurisdiction = OLD.jurisdiction AND v.settlement_id = OLD.settlement_id
                AND v.entry_no = OLD.entry_no)
        AND EXISTS (
            SELECT FROM settlement AS t
            WHERE t.jurisdiction = OLD.jurisdiction AND t.settlement_id = OLD.settlement_id
                AND t.state = 'drafted')
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'an entry is settled once: only a draft can be voided'
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE OR REPLACE TRIGGER settled_entry_append_only BEFORE UPDATE OR TRUNCATE ON settled_entry
    FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();

CREATE TRIGGER settled_entry_voided BEFORE DELETE ON settled_entry
    FOR EACH ROW EXECUTE FUNCTION settled_entry_is_voided();

-- As it was, and two things more: a draft goes when it is on record as voided, and what it had
-- netted is outstanding again.
CREATE OR REPLACE FUNCTION settlement_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.state = 'drafted' AND EXISTS (
        SELECT FROM voided_settlement AS v
        WHERE v.jurisdiction = OLD.jurisdiction AND v.settlement_id = OLD.settlement_id)
    THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND array_position(ARRAY['drafted', 'approved', 'paid'], NEW.state)
            >= array_position(ARRAY['drafted', 'approved', 'paid'], OLD.state)
        AND (OLD.netted_in IS NULL OR NEW.netted_in = OLD.netted_in
            OR NEW.netted_in IS NULL AND EXISTS (
                SELECT FROM settlement AS t
                WHERE t.jurisdiction = OLD.jurisdiction AND t.settlement_id = OLD.netted_in
                    AND t.state = 'drafted'))
        AND (NEW.retailer_id, NEW.kind, NEW.from_on, NEW.to_on, NEW.drafted_by, NEW.drafted_at)
            = (OLD.retailer_id, OLD.kind, OLD.from_on, OLD.to_on, OLD.drafted_by, OLD.drafted_at)
        AND (OLD.state = 'drafted' OR
            (NEW.entries, NEW.granted_fen, NEW.refunded_fen, NEW.clawed_back_fen,
                NEW.advanced_fen, NEW.net_fen, NEW.approved_by, NEW.approved_at)
            = (OLD.entries, OLD.granted_fen, OLD.refunded_fen, OLD.clawed_back_fen,
                OLD.advanced_fen, OLD.net_fen, OLD.approved_by, OLD.approved_at))
        AND (OLD.state <> 'paid' OR
            (NEW.payment_reference, NEW.paid_by, NEW.paid_at)
            = (OLD.payment_reference, OLD.paid_by, OLD.paid_at))
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a settlement is kept as it was approved: draft the next one instead'
        USING ERRCODE = 'insufficient_privilege';
END
$$;
"""


def upgrade() -> None:
    for command in VOIDED.strip().split("\n\n"):
        op.execute(command)
