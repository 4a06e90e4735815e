"""The bureau's desk finds a person's claims."""

from alembic import op

revision = "0018"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Built while claims go on. A try that gave up leaves an index that is not valid: it is dropped
    # before `migrate` tries again.
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS claim_consumer_idx")
        op.execute("CREATE INDEX CONCURRENTLY claim_consumer_idx ON claim (consumer_digest)")
