"""A batch of claims is committed by a function of simple statements."""

from pathlib import Path

from alembic import op

import service.claims.ledger

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# The text stands with the claim path, for its readers. Like the types of 0011, a function never
# changes once it is released.
FUNCTION = (Path(service.claims.ledger.__path__[0]) / "commit_claims.sql").read_text()

TYPES = """
CREATE TYPE new_spending AS (
    pool           text,
    confirmed_fen  bigint,
    reserved_fen   bigint,
    recalled_fen   bigint
);

CREATE TYPE changed_pool AS (
    pool           text,
    part           integer,
    allocated_fen  bigint,
    spent_fen      bigint,
    version        bigint,
    bypasses       bigint
);

CREATE TYPE commit_result AS (
    left_out  uuid[],
    pools     changed_pool[]
)
"""


def upgrade() -> None:
    for statement in TYPES.split(";"):
        op.execute(statement)
    op.execute(FUNCTION)
