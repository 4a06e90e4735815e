"""Admin acts, adjustments of budgets, and tranches."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ACTS = """
CREATE TABLE admin_act (
    jurisdiction  text NOT NULL,
    act_no        bigint GENERATED ALWAYS AS IDENTITY,
    at            timestamptz NOT NULL,
    actor         text NOT NULL,
    act           text NOT NULL,
    subject_kind  text NOT NULL,
    subject_id    text NOT NULL,
    before        jsonb,
    after         jsonb,
    PRIMARY KEY (jurisdiction, act_no)
);

CREATE FUNCTION admin_act_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'admin acts are append-only'
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER admin_act_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON admin_act
    FOR EACH STATEMENT EXECUTE FUNCTION admin_act_is_append_only();
"""

BUDGETS = """
CREATE TABLE adjustment (
    jurisdiction     text NOT NULL,
    idempotency_key  text NOT NULL,
    pool             text NOT NULL,
    delta_fen        bigint NOT NULL,
    reason           text NOT NULL,
    document_no      text NOT NULL,
    allocated_fen    bigint NOT NULL,
    made_at          timestamptz NOT NULL,
    CONSTRAINT adjustment_pkey PRIMARY KEY (jurisdiction, idempotency_key)
);

CREATE TABLE tranche (
    jurisdiction  text NOT NULL,
    tranche_id    uuid NOT NULL,
    pool          text NOT NULL,
    opens_at      timestamptz NOT NULL,
    amount_fen    bigint NOT NULL,
    document_no   text NOT NULL,
    state         text NOT NULL,
    planned_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    PRIMARY KEY (jurisdiction, tranche_id),
    CONSTRAINT tranche_amount_positive CHECK (amount_fen > 0),
    CONSTRAINT tranche_state_known CHECK (state IN ('planned', 'opened', 'withdrawn'))
);

CREATE INDEX tranche_planned_idx ON tranche (jurisdiction, pool, opens_at)
    WHERE state = 'planned';
"""


def upgrade() -> None:
    for part in (ACTS, BUDGETS):
        for command in part.strip().split("\n\n"):
            op.execute(command)
