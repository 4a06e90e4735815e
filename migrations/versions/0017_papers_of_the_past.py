"""The invoices that were filed before every paper stayed on record."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# A transaction of its own: it takes some time, and locks no table while it does. The triggers
# record what is filed meanwhile. If two old invoices are one paper in two spellings, the earlier
# one has it.
STATEMENT = """
INSERT INTO invoice_paper
    (jurisdiction, number, code, claim_id, dated_on, buyer, total_fen, recorded_at)
SELECT jurisdiction, folded_invoice(number), folded_code(number, code), claim_id, dated_on, buyer,
    total_fen, recorded_at
FROM invoice ORDER BY recorded_at
ON CONFLICT (jurisdiction, number, code) DO NOTHING
"""


def upgrade() -> None:
    op.execute(STATEMENT)
