"""Retailers, stores, keys; pools; claims; the journal."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WHO_MAY_CALL = """
CREATE TABLE retailer (
    jurisdiction  text NOT NULL,
    retailer_id   text NOT NULL,
    uscc          text NOT NULL,
    name          text NOT NULL,
    state         text NOT NULL DEFAULT 'active',
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (jurisdiction, retailer_id),
    CONSTRAINT retailer_uscc_key UNIQUE (jurisdiction, uscc),
    CONSTRAINT retailer_state_known CHECK (state IN ('active', 'suspended'))
);

CREATE TABLE store (
    jurisdiction  text NOT NULL,
    store_id      text NOT NULL,
    retailer_id   text NOT NULL,
    name          text NOT NULL,
    town          text,
    state         text NOT NULL DEFAULT 'active',
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (jurisdiction, store_id),
    CONSTRAINT store_retailer_fkey FOREIGN KEY (jurisdiction, retailer_id) REFERENCES retailer,
    CONSTRAINT store_state_known CHECK (state IN ('active', 'suspended'))
);

CREATE INDEX store_retailer_idx ON store (jurisdiction, retailer_id, store_id);

CREATE TABLE api_key (
    jurisdiction   text NOT NULL,
    key_id         text NOT NULL,
    retailer_id    text,
    label          text NOT NULL,
    scopes         text[] NOT NULL,
    secret_sha256  bytea NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz,
    revoked_at     timestamptz,
    last_used_at   timestamptz,
    PRIMARY KEY (jurisdiction, key_id),
    CONSTRAINT api_key_secret_key UNIQUE (secret_sha256),
    CONSTRAINT api_key_retailer_fkey FOREIGN KEY (jurisdiction, retailer_id) REFERENCES retailer,
    CONSTRAINT api_key_claims_need_a_retailer
        CHECK (retailer_id IS NOT NULL OR NOT 'claims' = ANY (scopes))
);

CREATE INDEX api_key_retailer_idx ON api_key (jurisdiction, retailer_id);
"""

# A pool is one hot row: room on its page lets an update stay there (HOT) without index work.
BUDGET = """
CREATE TABLE pool (
    jurisdiction   text NOT NULL,
    pool           text NOT NULL,
    allocated_fen  bigint NOT NULL,
    confirmed_fen  bigint NOT NULL DEFAULT 0,
    reserved_fen   bigint NOT NULL DEFAULT 0,
    spent_fen      bigint GENERATED ALWAYS AS (confirmed_fen + reserved_fen) STORED,
    version        bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (jurisdiction, pool),
    CONSTRAINT pool_confirmed_not_negative CHECK (confirmed_fen >= 0),
    CONSTRAINT pool_reserved_not_negative CHECK (reserved_fen >= 0),
    CONSTRAINT pool_not_overspent CHECK (spent_fen <= allocated_fen)
) WITH (fillfactor = 10);
"""

CLAIMS = """
CREATE TABLE idempotency_key (
    jurisdiction     text NOT NULL,
    retailer_id      text NOT NULL,
    idempotency_key  text NOT NULL,
    claim_id         uuid,
    fingerprint      bytea,
    fenced           uuid[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (jurisdiction, retailer_id, idempotency_key)
);

CREATE TABLE serial_claimed (
    jurisdiction  text NOT NULL,
    serial_no     text NOT NULL,
    claim_id      uuid NOT NULL,
    line_no       smallint NOT NULL,
    PRIMARY KEY (jurisdiction, serial_no)
);

CREATE TABLE quota_use (
    jurisdiction  text NOT NULL,
    subject       bytea NOT NULL,
    quota         text NOT NULL,
    period        text NOT NULL,
    used          bigint NOT NULL,
    used_max      bigint NOT NULL,
    PRIMARY KEY (jurisdiction, subject, quota, period),
    CONSTRAINT quota_not_negative CHECK (used >= 0),
    CONSTRAINT quota_not_passed CHECK (used <= used_max)
);

CREATE TABLE claim (
    claim_id         uuid PRIMARY KEY,
    jurisdiction     text NOT NULL,
    retailer_id      text NOT NULL,
    store_id         text NOT NULL,
    idempotency_key  text NOT NULL,
    order_no         text NOT NULL,
    policy           text NOT NULL,
    state            text NOT NULL,
    sold_at          timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    expires_at       timestamptz,
    id_type          text NOT NULL,
    consumer_digest  bytea NOT NULL,
    consumer_last4   text NOT NULL,
    price_fen        bigint NOT NULL,
    subsidy_fen      bigint NOT NULL,
    invoice_no       text,
    delivery_region  text,
    CONSTRAINT claim_state_known
        CHECK (state IN ('reserved', 'confirmed', 'cancelled', 'expired')),
    CONSTRAINT claim_amounts CHECK (0 <= subsidy_fen AND subsidy_fen <= price_fen)
);

CREATE INDEX claim_retailer_idx ON claim (jurisdiction, retailer_id, claim_id);

CREATE TABLE claim_line (
    claim_id      uuid NOT NULL,
    line_no       smallint NOT NULL,
    category      text NOT NULL,
    scheme        text NOT NULL,
    pool          text NOT NULL,
    state         text NOT NULL,
    price_fen     bigint NOT NULL,
    rate_bp       integer,
    cap_fen       bigint NOT NULL,
    subsidy_fen   bigint NOT NULL,
    energy_grade  text,
    serial_no     text NOT NULL,
    imei          text,
    barcode       text,
    brand         text,
    model         text,
    trade_in      jsonb,
    quotas        jsonb NOT NULL,
    PRIMARY KEY (claim_id, line_no),
    CONSTRAINT claim_line_state_known
        CHECK (state IN ('reserved', 'confirmed', 'cancelled', 'expired', 'refunded')),
    CONSTRAINT claim_line_amounts
        CHECK (0 <= subsidy_fen AND subsidy_fen <= cap_fen AND subsidy_fen <= price_fen)
);
"""

JOURNAL = """
CREATE TABLE journal (
    jurisdiction  text NOT NULL,
    entry_no      bigint GENERATED ALWAYS AS IDENTITY,
    kind          text NOT NULL,
    booked_on     date NOT NULL,
    booked_at     timestamptz NOT NULL,
    pool          text NOT NULL,
    amount_fen    bigint NOT NULL,
    retailer_id   text,
    store_id      text,
    claim_id      uuid,
    line_no       smallint,
    category      text,
    policy        text,
    document_no   text,
    note          text,
    PRIMARY KEY (jurisdiction, entry_no),
    CONSTRAINT journal_kind_and_sign CHECK (
        (kind = 'grant' AND amount_fen > 0 AND claim_id IS NOT NULL)
        OR (kind = 'refund' AND amount_fen < 0 AND claim_id IS NOT NULL)
        OR (kind = 'allocation' AND amount_fen <> 0 AND document_no IS NOT NULL)
    )
);

CREATE INDEX journal_booked_idx ON journal (jurisdiction, booked_on, entry_no);

CREATE INDEX journal_claim_idx ON journal (claim_id);

CREATE FUNCTION journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only: book a new entry instead'
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();
"""


def upgrade() -> None:
    for part in (WHO_MAY_CALL, BUDGET, CLAIMS, JOURNAL):
        # asyncpg prepares what it runs, and one prepared statement is one command:
        # here a blank line parts them.
        for command in part.strip().split("\n\n"):
            op.execute(command)
