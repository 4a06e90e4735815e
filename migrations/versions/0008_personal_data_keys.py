"""Which personal-data keys the ledger's digests are made with."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEYS = """
CREATE TABLE pii_key (
    jurisdiction  text NOT NULL,
    generation    smallint NOT NULL,
    check_value   bytea NOT NULL,
    since         timestamptz NOT NULL,
    PRIMARY KEY (jurisdiction)
)
"""


def upgrade() -> None:
    op.execute(KEYS)
