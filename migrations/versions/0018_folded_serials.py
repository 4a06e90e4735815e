"""Serial numbers are compared without hyphens, blanks and case; phones have a second IMEI."""

from alembic import op

from service.db.engine import LOCK_TIMEOUT_MS

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# The same as `folded_serial` in service/core/identifiers.py. Serial numbers are ASCII, so the
# result depends on no collation.
FOLD = """
CREATE OR REPLACE FUNCTION folded_serial(serial_no text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT translate(
        serial_no, 'abcdefghijklmnopqrstuvwxyz -', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')
$$
"""

# Both are small: most serial numbers are typed as they fold, and most goods have no second IMEI.
INDEXES = {
    "claim_line_folded_idx": """(folded_serial(serial_no), claim_id, line_no)
        WHERE serial_no <> folded_serial(serial_no)""",
    "claim_line_imei2_idx": """((facts ->> 'imei2'), claim_id)
        WHERE facts ->> 'imei2' IS NOT NULL""",
}


def upgrade() -> None:
    op.execute(FOLD)
    # Concurrently, so outside a transaction. What an interrupted run has left is dropped first.
    with op.get_context().autocommit_block():
        # The build waits for older snapshots, such as an export's. No claim waits for the build.
        op.execute("SET lock_timeout = 0")
        for name, columns in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON claim_line {columns}")
        op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
