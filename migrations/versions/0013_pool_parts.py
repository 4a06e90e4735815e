"""A pool's money can be spent from several rows at once, under the pool's own ceiling."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# `escrow_fen` of a part: what was set aside for it so far, spent or not; of the pool: the sum over
# its parts, which the pool's own row cannot spend. So all that is spent from all rows together
# stays below `allocated_fen`, by constraints of single rows. What a part has spent is given back
# (a refund, a hold that ends) through the pool's row, whose own sums may so fall below zero, but
# never by more than the parts can have spent.
PARTS = """
ALTER TABLE pool ADD COLUMN escrow_fen bigint NOT NULL DEFAULT 0;

ALTER TABLE pool
    DROP CONSTRAINT pool_confirmed_not_negative,
    DROP CONSTRAINT pool_reserved_not_negative,
    DROP CONSTRAINT pool_not_overspent,
    ADD CONSTRAINT pool_escrow_not_negative CHECK (escrow_fen >= 0),
    ADD CONSTRAINT pool_confirmed_not_negative CHECK (confirmed_fen + escrow_fen >= 0),
    ADD CONSTRAINT pool_reserved_not_negative CHECK (reserved_fen + escrow_fen >= 0),
    ADD CONSTRAINT pool_not_overspent CHECK (spent_fen + escrow_fen <= allocated_fen);

CREATE TABLE pool_part (
    jurisdiction   text NOT NULL,
    pool           text NOT NULL,
    part           smallint NOT NULL,
    escrow_fen     bigint NOT NULL DEFAULT 0,
    confirmed_fen  bigint NOT NULL DEFAULT 0,
    reserved_fen   bigint NOT NULL DEFAULT 0,
    spent_fen      bigint GENERATED ALWAYS AS (confirmed_fen + reserved_fen) STORED,
    version        bigint NOT NULL DEFAULT 0,
    bypasses       bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (jurisdiction, pool, part),
    FOREIGN KEY (jurisdiction, pool) REFERENCES pool,
    CONSTRAINT pool_part_number_positive CHECK (part > 0),
    CONSTRAINT pool_part_confirmed_not_negative CHECK (confirmed_fen >= 0),
    CONSTRAINT pool_part_reserved_not_negative CHECK (reserved_fen >= 0),
    CONSTRAINT pool_part_not_overspent CHECK (spent_fen <= escrow_fen)
) WITH (fillfactor = 20, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0);

CREATE VIEW pool_total AS
SELECT pool.jurisdiction, pool.pool, pool.allocated_fen,
    pool.confirmed_fen + part.confirmed_fen AS confirmed_fen,
    pool.reserved_fen + part.reserved_fen AS reserved_fen,
    pool.spent_fen + part.spent_fen AS spent_fen,
    pool.version + part.version AS version
FROM pool, LATERAL (
    SELECT coalesce(sum(p.confirmed_fen), 0)::bigint AS confirmed_fen,
        coalesce(sum(p.reserved_fen), 0)::bigint AS reserved_fen,
        coalesce(sum(p.spent_fen), 0)::bigint AS spent_fen,
        coalesce(sum(p.version), 0)::bigint AS version
    FROM pool_part AS p
    WHERE p.jurisdiction = pool.jurisdiction AND p.pool = pool.pool
) AS part;
"""


def upgrade() -> None:
    for command in PARTS.strip().split("\n\n"):
        op.execute(command)
