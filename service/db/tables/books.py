"""The journal, its closed days, and what is derived from it."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, UUID

from service.db.tables.base import FenType, InstantType, column, key, metadata

journal = sa.Table(
    "journal",
    metadata,
    key("jurisdiction"),
    sa.Column("entry_no", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    column("kind", sa.Text),
    column("booked_on", sa.Date),
    column("booked_at", InstantType),
    column("pool", sa.Text),
    column("amount_fen", FenType),
    sa.Column("retailer_id", sa.Text),
    sa.Column("store_id", sa.Text),
    sa.Column("claim_id", UUID(as_uuid=True)),
    sa.Column("line_no", sa.SmallInteger),
    sa.Column("category", sa.Text),
    sa.Column("policy", sa.Text),
    sa.Column("document_no", sa.Text),
    sa.Column("note", sa.Text),
    sa.CheckConstraint(
        "(kind = 'grant' and amount_fen > 0 and claim_id is not null)"
        " or (kind = 'refund' and amount_fen < 0 and claim_id is not null)"
        " or (kind = 'allocation' and amount_fen <> 0 and document_no is not null)",
        name="journal_kind_and_sign",
    ),
    sa.Index("journal_booked_idx", "jurisdiction", "booked_on", "entry_no"),
    sa.Index("journal_claim_idx", "claim_id"),
    sa.Index(
        "journal_refund_idx",
        "jurisdiction",
        "retailer_id",
        "entry_no",
        postgresql_where=sa.text("kind = 'refund'"),
    ),
)

# The shares of a subsidy that each level of government bears, as the policy had them when it was
# first used.
policy_funding = sa.Table(
    "policy_funding",
    metadata,
    key("jurisdiction"),
    key("policy"),
    *(column(f"{who}_bp", sa.Integer) for who in ("centre", "province", "city", "district")),
)

journal_day = sa.Table(
    "journal_day",
    metadata,
    key("jurisdiction"),
    key("day", sa.Date()),
    column("closed_at", InstantType),
    column("entries", sa.BigInteger),
    column("sum_fen", FenType),
    column("previous_digest", BYTEA),
    column("digest", BYTEA),
)

# Derived from the journal, so that a forecast need not read it: a row per closed day, and a reading
# every five minutes. If `pool_day` is emptied it is filled again.
pool_day = sa.Table(
    "pool_day",
    metadata,
    key("jurisdiction"),
    key("pool"),
    key("day", sa.Date()),
    column("allocated_fen", FenType),
    column("confirmed_fen", FenType),
)

pool_reading = sa.Table(
    "pool_reading",
    metadata,
    key("jurisdiction"),
    key("at", InstantType),
    key("pool"),
    column("confirmed_fen", FenType),
)

journal_seal = sa.Table(
    "journal_seal",
    metadata,
    key("jurisdiction"),
    key("entry_no", sa.BigInteger()),
    column("day", sa.Date),
    column("seq", sa.BigInteger),
    column("leaf", BYTEA),
    sa.UniqueConstraint("jurisdiction", "day", "seq", name="journal_seal_seq_key"),
)

# A cache of the journal for dashboards: the entries up to `until_entry`. No settlement reads it.
journal_sum_day = sa.Table(
    "journal_sum_day",
    metadata,
    key("jurisdiction"),
    key("booked_on", sa.Date()),
    key("kind"),
    key("pool"),
    key("category"),  # empty: an allocation
    column("entries", sa.BigInteger),
    column("amount_fen", FenType),
)

journal_sum_store = sa.Table(
    "journal_sum_store",
    metadata,
    key("jurisdiction"),
    key("store_id"),
    key("kind"),
    key("pool"),
    column("entries", sa.BigInteger),
    column("amount_fen", FenType),
)

journal_sum_mark = sa.Table(
    "journal_sum_mark",
    metadata,
    key("jurisdiction"),
    column("until_entry", sa.BigInteger),
)

# The sales of the same entries, with a mark of their own.
sales_sum_day = sa.Table(
    "sales_sum_day",
    metadata,
    key("jurisdiction"),
    key("booked_on", sa.Date()),
    key("kind"),
    key("pool"),
    key("category"),
    column("sales_fen", FenType),
)

sales_sum_store = sa.Table(
    "sales_sum_store",
    metadata,
    key("jurisdiction"),
    key("store_id"),
    key("kind"),
    column("sales_fen", FenType),
)

sales_sum_mark = sa.Table(
    "sales_sum_mark",
    metadata,
    key("jurisdiction"),
    column("until_entry", sa.BigInteger),
)
