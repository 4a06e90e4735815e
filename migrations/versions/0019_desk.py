"""The bureau's desk finds a person's claims, and the dashboards have the sales that were driven."""

from alembic import op

from service.db.engine import LOCK_TIMEOUT_MS

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# Sums of their own, with a mark of their own: the former release goes on filling those of 0007, and
# these start from the first entry.
SALES = """
CREATE TABLE sales_sum_day (
    jurisdiction  text NOT NULL,
    booked_on     date NOT NULL,
    kind          text NOT NULL,
    pool          text NOT NULL,
    category      text NOT NULL,
    sales_fen     bigint NOT NULL,
    PRIMARY KEY (jurisdiction, booked_on, kind, pool, category)
);

CREATE TABLE sales_sum_store (
    jurisdiction  text NOT NULL,
    store_id      text NOT NULL,
    kind          text NOT NULL,
    sales_fen     bigint NOT NULL,
    PRIMARY KEY (jurisdiction, store_id, kind)
);

CREATE TABLE sales_sum_mark (
    jurisdiction  text NOT NULL,
    until_entry   bigint NOT NULL,
    PRIMARY KEY (jurisdiction)
);
"""


def upgrade() -> None:
    # Built while claims go on: it waits for older snapshots, such as an export's, and no claim
    # waits for it. A run that was ended leaves an index that is not valid. First, because a block
    # of its own commits what is before it.
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS claim_consumer_idx")
        op.execute("CREATE INDEX CONCURRENTLY claim_consumer_idx ON claim (consumer_digest)")
        op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
    for command in SALES.strip().split("\n\n"):
        op.execute(command)
