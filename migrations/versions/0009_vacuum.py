"""Large tables are vacuumed and analysed by the hundred thousand rows, not by the million."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# By default a table of ten million rows waits for two million new or dead ones, six weeks of a
# province's claims, and then all are gone through at once. A pass over new rows alone costs what
# they cost, for it leaves the indexes out; and the planner hears of the newest days in time. Much
# smaller parts would have busy tables sampled every minute.
GROWING = ("claim", "claim_line", "journal", "journal_seal", "idempotency_key", "serial_claimed")
VACUUM = "autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05"

# Holds that were confirmed and rights that were used again leave dead rows behind.
CHANGING = ("claim", "claim_line", "quota_use")
DEAD = "autovacuum_vacuum_scale_factor = 0.05"

# The hot rows: one page each, whose dead rows the updates themselves clear away (HOT). What an
# export's or an audit's long snapshot kept of them goes at the next pass, a minute later. Never
# give back the emptied pages: that takes a lock for which every claim would wait.
HOT = "vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0"


def upgrade() -> None:
    # None of these waits for claims, nor do claims wait for it (SHARE UPDATE EXCLUSIVE).
    for table in GROWING:
        op.execute(f"ALTER TABLE {table} SET ({VACUUM})")
    for table in CHANGING:
        op.execute(f"ALTER TABLE {table} SET ({DEAD})")
    op.execute(f"ALTER TABLE pool SET ({HOT})")
