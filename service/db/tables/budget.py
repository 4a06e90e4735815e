"""The pools, and how money comes into them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import UUID

from service.db.tables.base import FenType, InstantType, column, key, metadata

pool = sa.Table(
    "pool",
    metadata,
    key("jurisdiction"),
    key("pool"),
    column("allocated_fen", FenType),
    column("confirmed_fen", FenType),
    column("reserved_fen", FenType),
    sa.Column("spent_fen", FenType, sa.Computed("confirmed_fen + reserved_fen", persisted=True)),
    column("version", sa.BigInteger),  # grows with every change: the newer view wins
    # Commits of claims that the gate was not asked about: it may not know their keys.
    column("bypasses", sa.BigInteger, server_default=sa.text("0")),
    # Set aside for the slices so far. Only they can spend it, not this row.
    column("escrow_fen", FenType, server_default=sa.text("0")),
    sa.CheckConstraint("escrow_fen >= 0", name="pool_escrow_not_negative"),
    # Refunds of what a slice spent come back here, so each of these sums may fall below zero.
    sa.CheckConstraint("confirmed_fen + escrow_fen >= 0", name="pool_confirmed_not_negative"),
    sa.CheckConstraint("reserved_fen + escrow_fen >= 0", name="pool_reserved_not_negative"),
    sa.CheckConstraint("spent_fen + escrow_fen <= allocated_fen", name="pool_not_overspent"),
)

# A pool's slices: extra rows that spend its money, so that many commits need not queue for one row
# (the escrow method). Their sums only grow.
pool_part = sa.Table(
    "pool_part",
    metadata,
    key("jurisdiction"),
    key("pool"),
    key("part", sa.SmallInteger),
    column("escrow_fen", FenType, server_default=sa.text("0")),  # set aside so far, spent or not
    column("confirmed_fen", FenType, server_default=sa.text("0")),
    column("reserved_fen", FenType, server_default=sa.text("0")),
    sa.Column("spent_fen", FenType, sa.Computed("confirmed_fen + reserved_fen", persisted=True)),
    column("version", sa.BigInteger, server_default=sa.text("0")),
    column("bypasses", sa.BigInteger, server_default=sa.text("0")),
    sa.ForeignKeyConstraint(["jurisdiction", "pool"], ["pool.jurisdiction", "pool.pool"]),
    sa.CheckConstraint("part > 0", name="pool_part_number_positive"),
    sa.CheckConstraint("confirmed_fen >= 0", name="pool_part_confirmed_not_negative"),
    sa.CheckConstraint("reserved_fen >= 0", name="pool_part_reserved_not_negative"),
    sa.CheckConstraint("spent_fen <= escrow_fen", name="pool_part_not_overspent"),
)

adjustment = sa.Table(
    "adjustment",
    metadata,
    key("jurisdiction"),
    key("idempotency_key"),
    column("pool", sa.Text),
    column("delta_fen", FenType),
    column("reason", sa.Text),
    column("document_no", sa.Text),
    column("allocated_fen", FenType),  # after it
    column("made_at", InstantType),
)

tranche = sa.Table(
    "tranche",
    metadata,
    key("jurisdiction"),
    key("tranche_id", UUID(as_uuid=True)),
    column("pool", sa.Text),
    column("opens_at", InstantType),
    column("amount_fen", FenType),
    column("document_no", sa.Text),
    column("state", sa.Text),
    column("planned_at", InstantType),
    sa.Column("ended_at", InstantType),  # opened or withdrawn
    sa.CheckConstraint("amount_fen > 0", name="tranche_amount_positive"),
    sa.CheckConstraint("state in ('planned', 'opened', 'withdrawn')", name="tranche_state_known"),
    sa.Index(
        "tranche_planned_idx",
        "jurisdiction",
        "pool",
        "opens_at",
        postgresql_where=sa.text("state = 'planned'"),
    ),
)
