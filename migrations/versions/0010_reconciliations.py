"""Reconciliations and what they found; an approved settlement's amounts cannot change."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# `began_at` and `beat_at` are the real clock's: they tell whether a run is alive.
RECONCILIATIONS = """
CREATE TABLE reconciliation (
    jurisdiction       text NOT NULL,
    reconciliation_id  uuid NOT NULL,
    retailer_id        text,
    store_id           text,
    from_on            date NOT NULL,
    to_on              date NOT NULL,
    mapping            jsonb NOT NULL,
    file_sha256        bytea NOT NULL,
    file_bytes         bigint NOT NULL,
    state              text NOT NULL,
    progress_bp        integer NOT NULL DEFAULT 0,
    began_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    asked_by           text NOT NULL,
    asked_at           timestamptz NOT NULL,
    ended_at           timestamptz,
    summary            jsonb,
    fault              text,
    fault_facts        jsonb,
    PRIMARY KEY (jurisdiction, reconciliation_id),
    CONSTRAINT reconciliation_state_known CHECK (state IN ('running', 'done', 'failed')),
    CONSTRAINT reconciliation_state_told CHECK (
        (state = 'done') = (summary IS NOT NULL) AND (state = 'failed') = (fault IS NOT NULL)
        AND (state <> 'running') = (ended_at IS NOT NULL)
    )
);

CREATE INDEX reconciliation_asked_idx ON reconciliation (jurisdiction, asked_at);

CREATE INDEX reconciliation_running_idx ON reconciliation (jurisdiction)
    WHERE state = 'running';

CREATE TABLE reconciliation_item (
    jurisdiction       text NOT NULL,
    reconciliation_id  uuid NOT NULL,
    item_no            bigint NOT NULL,
    finding            text NOT NULL,
    file_line          bigint,
    key                text,
    claim_id           uuid,
    line_no            smallint,
    booked_on          date,
    here_fen           bigint,
    there_fen          bigint,
    here_state         text,
    there_state        text,
    why                text,
    PRIMARY KEY (jurisdiction, reconciliation_id, item_no),
    CONSTRAINT reconciliation_item_fkey
        FOREIGN KEY (jurisdiction, reconciliation_id) REFERENCES reconciliation
);
"""

# Only a draft's amounts move; after that only its state does, and an advance is netted once.
SETTLED = """
CREATE FUNCTION settlement_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND array_position(ARRAY['drafted', 'approved', 'paid'], NEW.state)
            >= array_position(ARRAY['drafted', 'approved', 'paid'], OLD.state)
        AND (OLD.netted_in IS NULL OR NEW.netted_in = OLD.netted_in)
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

CREATE TRIGGER settlement_frozen BEFORE UPDATE OR DELETE ON settlement
    FOR EACH ROW EXECUTE FUNCTION settlement_is_frozen();

CREATE TRIGGER settlement_kept BEFORE TRUNCATE ON settlement
    FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();
"""


def upgrade() -> None:
    for part in (RECONCILIATIONS, SETTLED):
        for command in part.strip().split("\n\n"):
            op.execute(command)
