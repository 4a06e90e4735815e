"""What only some rules read of an item is kept with its line, so that a new fact needs no SQL."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# `new_line` stays for the former release, which runs together with this one for a while. A type
# with one more column is a type of its own (0011).
STATEMENTS = """
ALTER TABLE claim_line ADD COLUMN facts jsonb;

CREATE TYPE new_line_2 AS (
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
    quotas        jsonb,
    facts         jsonb
)
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";"):
        op.execute(statement)
