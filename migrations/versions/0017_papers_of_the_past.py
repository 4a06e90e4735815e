"""The invoices that were filed before every paper stayed on record."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# In small transactions, for tills file meanwhile: the triggers record that. If two old invoices are
# one paper in two spellings, the first that is read has it.
STATEMENT = """
DO $$
DECLARE
    last record;
BEGIN
    SELECT '' AS jurisdiction, '' AS number, '' AS code INTO last;
    LOOP
        WITH portion AS (
            SELECT * FROM invoice
            WHERE (jurisdiction, number, code) > (last.jurisdiction, last.number, last.code)
            ORDER BY jurisdiction, number, code LIMIT 2000
        ), filed AS (
            INSERT INTO invoice_paper
                (jurisdiction, number, code, claim_id, dated_on, buyer, total_fen, recorded_at)
            SELECT jurisdiction, folded_invoice(number), folded_code(number, code), claim_id,
                dated_on, buyer, total_fen, recorded_at
            FROM portion ORDER BY jurisdiction, folded_invoice(number)
            ON CONFLICT (jurisdiction, number, code) DO NOTHING
        )
        SELECT jurisdiction, number, code INTO last FROM portion
        ORDER BY jurisdiction DESC, number DESC, code DESC LIMIT 1;
        EXIT WHEN last.jurisdiction IS NULL;
        COMMIT;
    END LOOP;
END
$$
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(STATEMENT)
