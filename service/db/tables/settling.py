"""Settlements with retailers, and reconciliations with their files."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, UUID

from service.db.tables.base import FenType, InstantType, column, key, metadata


def _settlement_columns() -> list[sa.Column[Any]]:
    return [
        key("jurisdiction"),
        key("settlement_id", UUID(as_uuid=True)),
        column("retailer_id", sa.Text),
        column("kind", sa.Text),
        column("from_on", sa.Date),
        column("to_on", sa.Date),
        column("state", sa.Text),
        column("entries", sa.BigInteger),
        column("granted_fen", FenType),
        column("refunded_fen", FenType),  # negative, as in the journal
        column("clawed_back_fen", FenType),  # negative
        column("advanced_fen", FenType),  # of paid advances, taken off here
        column("net_fen", FenType),
        column("drafted_by", sa.Text),
        column("drafted_at", InstantType),
        sa.Column("approved_by", sa.Text),
        sa.Column("approved_at", InstantType),
        sa.Column("paid_by", sa.Text),
        sa.Column("paid_at", InstantType),
        sa.Column("payment_reference", sa.Text),
        sa.Column("netted_in", UUID(as_uuid=True)),  # the settlement that deducted this advance
    ]


def _head_columns() -> list[sa.Column[Any]]:
    """What the draft said; null in drafts of release 0.1.0."""
    return [
        sa.Column("uninvoiced_claims", sa.BigInteger),  # left out for want of an invoice
        sa.Column("uninvoiced_fen", sa.BigInteger),
        sa.Column("retailer_name", sa.Text),
        sa.Column("retailer_uscc", sa.Text),
    ]


def _entry_columns() -> list[sa.Column[Any]]:
    return [
        column("part", sa.Text),
        column("claim_id", UUID(as_uuid=True)),
        column("line_no", sa.SmallInteger),
        column("amount_fen", FenType),
        sa.Column("invoice_no", sa.Text),  # as it was on record at the draft
    ]


settlement = sa.Table(
    "settlement",
    metadata,
    *_settlement_columns(),
    *_head_columns(),
    sa.Index("settlement_retailer_idx", "jurisdiction", "retailer_id", "drafted_at"),
    sa.Index(
        "settlement_one_advance_key",
        "jurisdiction",
        "retailer_id",
        unique=True,
        postgresql_where=sa.text("kind = 'advance' AND netted_in IS NULL"),
    ),
)

# A draft that was withdrawn, as it stood; its entries are free for another.
voided_settlement = sa.Table(
    "voided_settlement",
    metadata,
    *_settlement_columns(),
    column("voided_by", sa.Text),
    column("voided_at", InstantType),
    column("void_reason", sa.Text),
    *_head_columns(),
)

settled_entry = sa.Table(
    "settled_entry",
    metadata,
    key("jurisdiction"),
    key("entry_no", sa.BigInteger()),  # so each entry is settled once
    column("settlement_id", UUID(as_uuid=True)),
    *_entry_columns(),
    sa.ForeignKeyConstraint(
        ["jurisdiction", "settlement_id"],
        ["settlement.jurisdiction", "settlement.settlement_id"],
        name="settled_entry_settlement_fkey",
    ),
    sa.Index("settled_entry_settlement_idx", "jurisdiction", "settlement_id", "entry_no"),
    sa.Index("settled_entry_claim_idx", "claim_id", "line_no"),
)

voided_entry = sa.Table(
    "voided_entry",
    metadata,
    key("jurisdiction"),
    key("settlement_id", UUID(as_uuid=True)),
    key("entry_no", sa.BigInteger()),
    *_entry_columns(),
    sa.ForeignKeyConstraint(
        ["jurisdiction", "settlement_id"],
        ["voided_settlement.jurisdiction", "voided_settlement.settlement_id"],
        name="voided_entry_settlement_fkey",
    ),
)

reconciliation = sa.Table(
    "reconciliation",
    metadata,
    key("jurisdiction"),
    key("reconciliation_id", UUID(as_uuid=True)),
    sa.Column("retailer_id", sa.Text),
    sa.Column("store_id", sa.Text),
    column("from_on", sa.Date),
    column("to_on", sa.Date),
    column("mapping", JSONB),
    column("file_sha256", BYTEA),
    column("file_bytes", sa.BigInteger),
    column("state", sa.Text),
    column("progress_bp", sa.Integer, server_default=sa.text("0")),
    # By the real clock: they show whether the run is alive.
    column("began_at", InstantType, server_default=sa.text("clock_timestamp()")),
    column("beat_at", InstantType, server_default=sa.text("clock_timestamp()")),
    column("asked_by", sa.Text),
    column("asked_at", InstantType),
    sa.Column("ended_at", InstantType),
    sa.Column("summary", JSONB(none_as_null=True)),
    sa.Column("fault", sa.Text),
    sa.Column("fault_facts", JSONB(none_as_null=True)),
    sa.Index("reconciliation_asked_idx", "jurisdiction", "asked_at"),
    sa.Index(
        "reconciliation_running_idx",
        "jurisdiction",
        postgresql_where=sa.text("state = 'running'"),
    ),
)

reconciliation_item = sa.Table(
    "reconciliation_item",
    metadata,
    key("jurisdiction"),
    key("reconciliation_id", UUID(as_uuid=True)),
    key("item_no", sa.BigInteger()),
    column("finding", sa.Text),
    sa.Column("file_line", sa.BigInteger),
    sa.Column("key", sa.Text),
    sa.Column("claim_id", UUID(as_uuid=True)),
    sa.Column("line_no", sa.SmallInteger),
    sa.Column("booked_on", sa.Date),
    sa.Column("here_fen", FenType),
    sa.Column("there_fen", FenType),
    sa.Column("here_state", sa.Text),
    sa.Column("there_state", sa.Text),
    sa.Column("why", sa.Text),
    sa.ForeignKeyConstraint(
        ["jurisdiction", "reconciliation_id"],
        ["reconciliation.jurisdiction", "reconciliation.reconciliation_id"],
        name="reconciliation_item_fkey",
    ),
)
