"""The rows of a commit travel as rows, not as an array for each of their columns."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# What a commit is sent. Two releases share a ledger for a while, so a type never changes: a
# release that sends more makes one of another name, and a later one drops this.
TYPES = """
CREATE TYPE new_claim AS (
    claim_id         uuid,
    retailer_id      text,
    store_id         text,
    idempotency_key  text,
    fingerprint      bytea,
    order_no         text,
    policy           text,
    sold_at          timestamptz,
    created_at       timestamptz,
    expires_at       timestamptz,
    id_type          text,
    consumer_digest  bytea,
    consumer_last4   text,
    price_fen        bigint,
    subsidy_fen      bigint,
    invoice_no       text,
    delivery_region  text,
    booked_on        date
);

CREATE TYPE new_line AS (
    claim_id      uuid,
    line_no       smallint,
    category      text,
    scheme        text,
    pool          text,
    price_fen     bigint,
    rate_bp       integer,
    cap_fen       bigint,
    subsidy_fen   bigint,
    energy_grade  text,
    serial_no     text,
    imei          text,
    barcode       text,
    brand         text,
    model         text,
    trade_in      jsonb,
    quotas        jsonb
);

CREATE TYPE new_serial AS (
    claim_id   uuid,
    serial_no  text,
    line_no    smallint
);

CREATE TYPE new_right AS (
    claim_id  uuid,
    subject   bytea,
    quota     text,
    period    text,
    amount    bigint,
    used_max  bigint
)
"""


def upgrade() -> None:
    for statement in TYPES.split(";"):
        op.execute(statement)
