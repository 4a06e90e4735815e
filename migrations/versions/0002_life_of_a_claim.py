"""Holds that end, refunds, invoices, and the indexes by which claims are found."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Commits that the gate was not asked about: it must then ask the ledger about keys.
GATE = """
ALTER TABLE pool ADD COLUMN bypasses bigint NOT NULL DEFAULT 0;
"""

REFUNDS = """
CREATE TABLE refund (
    jurisdiction     text NOT NULL,
    retailer_id      text NOT NULL,
    idempotency_key  text NOT NULL,
    fingerprint      bytea NOT NULL,
    refund_id        uuid NOT NULL,
    claim_id         uuid NOT NULL,
    lines            smallint[] NOT NULL,
    lines_refunded   integer NOT NULL,
    reason           text NOT NULL,
    subsidy_fen      bigint NOT NULL,
    created_at       timestamptz NOT NULL,
    CONSTRAINT refund_pkey PRIMARY KEY (jurisdiction, retailer_id, idempotency_key),
    CONSTRAINT refund_is_whole CHECK (lines_refunded = cardinality(lines))
);

CREATE INDEX refund_claim_idx ON refund (claim_id);
"""

INVOICES = """
CREATE TABLE invoice (
    jurisdiction  text NOT NULL,
    number        text NOT NULL,
    code          text NOT NULL,
    claim_id      uuid NOT NULL,
    dated_on      date NOT NULL,
    buyer         text NOT NULL,
    total_fen     bigint NOT NULL,
    recorded_at   timestamptz NOT NULL,
    CONSTRAINT invoice_pkey PRIMARY KEY (jurisdiction, number, code),
    CONSTRAINT invoice_claim_key UNIQUE (claim_id)
);
"""

# Most claims are confirmed: who asks for the others gets an index that stays small, and who
# asks for the confirmed finds them all along the retailer's own.
FINDING = """
CREATE INDEX claim_order_idx ON claim (jurisdiction, retailer_id, order_no, claim_id);

CREATE INDEX claim_not_confirmed_idx ON claim (jurisdiction, retailer_id, state, claim_id)
    WHERE state <> 'confirmed';

CREATE INDEX claim_due_idx ON claim (jurisdiction, expires_at) WHERE state = 'reserved';

CREATE INDEX claim_line_serial_idx ON claim_line (serial_no, claim_id);

CREATE INDEX claim_line_imei_idx ON claim_line (imei, claim_id) WHERE imei IS NOT NULL;
"""


def upgrade() -> None:
    for part in (GATE, REFUNDS, INVOICES, FINDING):
        for command in part.strip().split("\n\n"):
            op.execute(command)
