"""Running sums of the journal: a cache for dashboards, filled by those who look at them."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SUMS = """
CREATE TABLE journal_sum_day (
    jurisdiction  text NOT NULL,
    booked_on     date NOT NULL,
    kind          text NOT NULL,
    pool          text NOT NULL,
    category      text NOT NULL,
    entries       bigint NOT NULL,
    amount_fen    bigint NOT NULL,
    PRIMARY KEY (jurisdiction, booked_on, kind, pool, category)
);

CREATE TABLE journal_sum_store (
    jurisdiction  text NOT NULL,
    store_id      text NOT NULL,
    kind          text NOT NULL,
    pool          text NOT NULL,
    entries       bigint NOT NULL,
    amount_fen    bigint NOT NULL,
    PRIMARY KEY (jurisdiction, store_id, kind, pool)
);

CREATE TABLE journal_sum_mark (
    jurisdiction  text NOT NULL,
    until_entry   bigint NOT NULL,
    PRIMARY KEY (jurisdiction)
);
"""


def upgrade() -> None:
    for command in SUMS.strip().split("\n\n"):
        op.execute(command)
