"""What each audit found, for the metrics and for later."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

RUNS = """
CREATE TABLE audit_run (
    jurisdiction  text NOT NULL,
    run_no        bigint GENERATED ALWAYS AS IDENTITY,
    finished_at   timestamptz NOT NULL,
    breaches      jsonb NOT NULL,
    PRIMARY KEY (jurisdiction, run_no)
)
"""


def upgrade() -> None:
    op.execute(RUNS)
