"""How each pool stood when a day closed, and every five minutes of today."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Derived from the journal, so that a forecast need not read it: emptied, it fills itself anew.
BURN = """
CREATE TABLE pool_day (
    jurisdiction   text NOT NULL,
    pool           text NOT NULL,
    day            date NOT NULL,
    allocated_fen  bigint NOT NULL,
    confirmed_fen  bigint NOT NULL,
    PRIMARY KEY (jurisdiction, pool, day)
);

CREATE TABLE pool_reading (
    jurisdiction   text NOT NULL,
    at             timestamptz NOT NULL,
    pool           text NOT NULL,
    confirmed_fen  bigint NOT NULL,
    PRIMARY KEY (jurisdiction, at, pool)
);
"""


def upgrade() -> None:
    for command in BURN.strip().split("\n\n"):
        op.execute(command)
