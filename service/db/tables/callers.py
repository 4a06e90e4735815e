"""Retailers, their stores and keys, and the record of what was done to them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB

from service.db.tables.base import InstantType, column, key, metadata

retailer = sa.Table(
    "retailer",
    metadata,
    key("jurisdiction"),
    key("retailer_id"),
    column("uscc", sa.Text),
    column("name", sa.Text),
    column("state", sa.Text),
    column("created_at", InstantType),
    sa.UniqueConstraint("jurisdiction", "uscc", name="retailer_uscc_key"),
)

store = sa.Table(
    "store",
    metadata,
    key("jurisdiction"),
    key("store_id"),
    column("retailer_id", sa.Text),
    column("name", sa.Text),
    sa.Column("town", sa.Text),
    column("state", sa.Text),
    column("created_at", InstantType),
    sa.ForeignKeyConstraint(
        ["jurisdiction", "retailer_id"],
        ["retailer.jurisdiction", "retailer.retailer_id"],
        name="store_retailer_fkey",
    ),
    sa.Index("store_retailer_idx", "jurisdiction", "retailer_id", "store_id"),
)

api_key = sa.Table(
    "api_key",
    metadata,
    key("jurisdiction"),
    key("key_id"),
    sa.Column("retailer_id", sa.Text),  # none: a key of the authorities
    column("label", sa.Text),
    column("scopes", ARRAY(sa.Text)),
    column("secret_sha256", BYTEA),
    column("created_at", InstantType),
    sa.Column("expires_at", InstantType),
    sa.Column("revoked_at", InstantType),
    sa.Column("last_used_at", InstantType),
    sa.UniqueConstraint("secret_sha256", name="api_key_secret_key"),
    sa.ForeignKeyConstraint(
        ["jurisdiction", "retailer_id"],
        ["retailer.jurisdiction", "retailer.retailer_id"],
        name="api_key_retailer_fkey",
    ),
    sa.Index("api_key_retailer_idx", "jurisdiction", "retailer_id"),
)

admin_act = sa.Table(
    "admin_act",
    metadata,
    key("jurisdiction"),
    sa.Column("act_no", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    column("at", InstantType),
    column("actor", sa.Text),
    column("act", sa.Text),
    column("subject_kind", sa.Text),
    column("subject_id", sa.Text),
    sa.Column("before", JSONB(none_as_null=True)),
    sa.Column("after", JSONB(none_as_null=True)),
)
