"""The tables, as SQLAlchemy sees them; `migrations/` makes them.

Every row belongs to a jurisdiction. Uniqueness lives in small tables of its own
(`idempotency_key`, `serial_claimed`, `quota_use`), so that `claim`, `claim_line` and
`journal` can be split by month without losing a constraint. The claim path's tables have
no foreign keys: one statement writes them all, and a key check for each row would lock
the same few parents again and again.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB, UUID

metadata = sa.MetaData()

Instant = sa.DateTime(timezone=True)
Fen = sa.BigInteger


def _column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


def _key(name: str, kind: Any = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True)


# --- who may call -----------------------------------------------------------------------

retailer = sa.Table(
    "retailer",
    metadata,
    _key("jurisdiction"),
    _key("retailer_id"),
    _column("uscc", sa.Text),
    _column("name", sa.Text),
    _column("state", sa.Text),
    _column("created_at", Instant),
    sa.UniqueConstraint("jurisdiction", "uscc", name="retailer_uscc_key"),
)

store = sa.Table(
    "store",
    metadata,
    _key("jurisdiction"),
    _key("store_id"),
    _column("retailer_id", sa.Text),
    _column("name", sa.Text),
    sa.Column("town", sa.Text),
    _column("state", sa.Text),
    _column("created_at", Instant),
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
    _key("jurisdiction"),
    _key("key_id"),
    sa.Column("retailer_id", sa.Text),  # none: a key of the authorities
    _column("label", sa.Text),
    _column("scopes", ARRAY(sa.Text)),
    _column("secret_sha256", BYTEA),
    _column("created_at", Instant),
    sa.Column("expires_at", Instant),
    sa.Column("revoked_at", Instant),
    sa.Column("last_used_at", Instant),
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
    _key("jurisdiction"),
    sa.Column("act_no", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _column("at", Instant),
    _column("actor", sa.Text),
    _column("act", sa.Text),
    _column("subject_kind", sa.Text),
    _column("subject_id", sa.Text),
    sa.Column("before", JSONB(none_as_null=True)),
    sa.Column("after", JSONB(none_as_null=True)),
)

# --- the budget -------------------------------------------------------------------------

pool = sa.Table(
    "pool",
    metadata,
    _key("jurisdiction"),
    _key("pool"),
    _column("allocated_fen", Fen),
    _column("confirmed_fen", Fen),
    _column("reserved_fen", Fen),
    sa.Column("spent_fen", Fen, sa.Computed("confirmed_fen + reserved_fen", persisted=True)),
    _column("version", sa.BigInteger),  # grows with every change: the newer view wins
    # Commits of claims that the gate was not asked about: it may not know their keys.
    _column("bypasses", sa.BigInteger, server_default=sa.text("0")),
    sa.CheckConstraint("confirmed_fen >= 0", name="pool_confirmed_not_negative"),
    sa.CheckConstraint("reserved_fen >= 0", name="pool_reserved_not_negative"),
    sa.CheckConstraint("spent_fen <= allocated_fen", name="pool_not_overspent"),
)

adjustment = sa.Table(
    "adjustment",
    metadata,
    _key("jurisdiction"),
    _key("idempotency_key"),
    _column("pool", sa.Text),
    _column("delta_fen", Fen),
    _column("reason", sa.Text),
    _column("document_no", sa.Text),
    _column("allocated_fen", Fen),  # after it
    _column("made_at", Instant),
)

tranche = sa.Table(
    "tranche",
    metadata,
    _key("jurisdiction"),
    _key("tranche_id", UUID(as_uuid=True)),
    _column("pool", sa.Text),
    _column("opens_at", Instant),
    _column("amount_fen", Fen),
    _column("document_no", sa.Text),
    _column("state", sa.Text),
    _column("planned_at", Instant),
    sa.Column("ended_at", Instant),  # opened or withdrawn
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

# --- claims -----------------------------------------------------------------------------

idempotency_key = sa.Table(
    "idempotency_key",
    metadata,
    _key("jurisdiction"),
    _key("retailer_id"),
    _key("idempotency_key"),
    sa.Column("claim_id", UUID(as_uuid=True)),  # none: no claim came of it
    sa.Column("fingerprint", BYTEA),
    # Claim ids that were given up under this key: a late commit of one must fail.
    _column("fenced", ARRAY(UUID(as_uuid=True)), server_default=sa.text("'{}'")),
)

serial_claimed = sa.Table(
    "serial_claimed",
    metadata,
    _key("jurisdiction"),
    _key("serial_no"),
    _column("claim_id", UUID(as_uuid=True)),
    _column("line_no", sa.SmallInteger),
)

quota_use = sa.Table(
    "quota_use",
    metadata,
    _key("jurisdiction"),
    _key("subject", BYTEA()),
    _key("quota"),
    _key("period"),
    _column("used", sa.BigInteger),  # items, or fen where the right is a sum
    _column("used_max", sa.BigInteger),
    sa.CheckConstraint("used >= 0", name="quota_not_negative"),
    sa.CheckConstraint("used <= used_max", name="quota_not_passed"),
)

claim = sa.Table(
    "claim",
    metadata,
    _key("claim_id", UUID(as_uuid=True)),
    _column("jurisdiction", sa.Text),
    _column("retailer_id", sa.Text),
    _column("store_id", sa.Text),
    _column("idempotency_key", sa.Text),
    _column("order_no", sa.Text),
    _column("policy", sa.Text),
    _column("state", sa.Text),
    _column("sold_at", Instant),
    _column("created_at", Instant),
    sa.Column("expires_at", Instant),  # set where the claim began as a hold
    _column("id_type", sa.Text),
    _column("consumer_digest", BYTEA),
    _column("consumer_last4", sa.Text),
    _column("price_fen", Fen),
    _column("subsidy_fen", Fen),
    sa.Column("invoice_no", sa.Text),
    sa.Column("delivery_region", sa.Text),
    sa.CheckConstraint(
        "state in ('reserved', 'confirmed', 'cancelled', 'expired')", name="claim_state_known"
    ),
    sa.CheckConstraint("0 <= subsidy_fen and subsidy_fen <= price_fen", name="claim_amounts"),
    sa.Index("claim_retailer_idx", "jurisdiction", "retailer_id", "claim_id"),
    sa.Index("claim_order_idx", "jurisdiction", "retailer_id", "order_no", "claim_id"),
    # Most are confirmed: who asks for those finds them all along the retailer's own.
    sa.Index(
        "claim_not_confirmed_idx",
        "jurisdiction",
        "retailer_id",
        "state",
        "claim_id",
        postgresql_where=sa.text("state <> 'confirmed'"),
    ),
    sa.Index(
        "claim_due_idx",
        "jurisdiction",
        "expires_at",
        postgresql_where=sa.text("state = 'reserved'"),
    ),
)

claim_line = sa.Table(
    "claim_line",
    metadata,
    _key("claim_id", UUID(as_uuid=True)),
    _key("line_no", sa.SmallInteger()),
    _column("category", sa.Text),
    _column("scheme", sa.Text),
    _column("pool", sa.Text),
    _column("state", sa.Text),
    _column("price_fen", Fen),
    sa.Column("rate_bp", sa.Integer),  # none: a fixed sum
    _column("cap_fen", Fen),
    _column("subsidy_fen", Fen),
    sa.Column("energy_grade", sa.Text),
    _column("serial_no", sa.Text),
    sa.Column("imei", sa.Text),
    sa.Column("barcode", sa.Text),
    sa.Column("brand", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("trade_in", JSONB),
    # What the line took of which right: a refund gives back just this.
    _column("quotas", JSONB),
    sa.CheckConstraint(
        "state in ('reserved', 'confirmed', 'cancelled', 'expired', 'refunded')",
        name="claim_line_state_known",
    ),
    sa.CheckConstraint(
        "0 <= subsidy_fen and subsidy_fen <= cap_fen and subsidy_fen <= price_fen",
        name="claim_line_amounts",
    ),
    sa.Index("claim_line_serial_idx", "serial_no", "claim_id"),
    sa.Index(
        "claim_line_imei_idx", "imei", "claim_id", postgresql_where=sa.text("imei is not null")
    ),
)

refund = sa.Table(
    "refund",
    metadata,
    _key("jurisdiction"),
    _key("retailer_id"),
    _key("idempotency_key"),
    _column("fingerprint", BYTEA),
    _column("refund_id", UUID(as_uuid=True)),
    _column("claim_id", UUID(as_uuid=True)),
    _column("lines", ARRAY(sa.SmallInteger)),
    _column("lines_refunded", sa.Integer),
    _column("reason", sa.Text),
    _column("subsidy_fen", Fen),
    _column("created_at", Instant),
    # All lines that were asked for, or none: the statement itself counts them.
    sa.CheckConstraint("lines_refunded = cardinality(lines)", name="refund_is_whole"),
    sa.Index("refund_claim_idx", "claim_id"),
)

invoice = sa.Table(
    "invoice",
    metadata,
    _key("jurisdiction"),
    _key("number"),
    _key("code"),  # empty: a fully digital invoice has none
    _column("claim_id", UUID(as_uuid=True)),
    _column("dated_on", sa.Date),
    _column("buyer", sa.Text),
    _column("total_fen", Fen),
    _column("recorded_at", Instant),
    sa.UniqueConstraint("claim_id", name="invoice_claim_key"),
)

audit_run = sa.Table(
    "audit_run",
    metadata,
    _key("jurisdiction"),
    sa.Column("run_no", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _column("finished_at", Instant),
    _column("breaches", JSONB),  # how many, by invariant
)

# With which personal-data keys the digests are made; see service/claims/rotation.py.
pii_key = sa.Table(
    "pii_key",
    metadata,
    _key("jurisdiction"),
    _column("generation", sa.SmallInteger),  # how many keys there have been
    _column("check_value", BYTEA),
    _column("since", Instant),
)

# --- the books --------------------------------------------------------------------------

journal = sa.Table(
    "journal",
    metadata,
    _key("jurisdiction"),
    sa.Column("entry_no", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _column("kind", sa.Text),
    _column("booked_on", sa.Date),
    _column("booked_at", Instant),
    _column("pool", sa.Text),
    _column("amount_fen", Fen),
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

# What each policy says of who bears the subsidy, as it was when first met.
policy_funding = sa.Table(
    "policy_funding",
    metadata,
    _key("jurisdiction"),
    _key("policy"),
    *(_column(f"{who}_bp", sa.Integer) for who in ("centre", "province", "city", "district")),
)

journal_day = sa.Table(
    "journal_day",
    metadata,
    _key("jurisdiction"),
    _key("day", sa.Date()),
    _column("closed_at", Instant),
    _column("entries", sa.BigInteger),
    _column("sum_fen", Fen),
    _column("previous_digest", BYTEA),
    _column("digest", BYTEA),
)

# Derived from the journal, as each day closed and as five minutes passed, so that a forecast need
# not read it. `pool_day` fills itself anew when it is emptied.
pool_day = sa.Table(
    "pool_day",
    metadata,
    _key("jurisdiction"),
    _key("pool"),
    _key("day", sa.Date()),
    _column("allocated_fen", Fen),
    _column("confirmed_fen", Fen),
)

pool_reading = sa.Table(
    "pool_reading",
    metadata,
    _key("jurisdiction"),
    _key("at", Instant),
    _key("pool"),
    _column("confirmed_fen", Fen),
)

journal_seal = sa.Table(
    "journal_seal",
    metadata,
    _key("jurisdiction"),
    _key("entry_no", sa.BigInteger()),
    _column("day", sa.Date),
    _column("seq", sa.BigInteger),
    _column("leaf", BYTEA),
    sa.UniqueConstraint("jurisdiction", "day", "seq", name="journal_seal_seq_key"),
)

# A cache of the journal for dashboards: what it has up to `until_entry`. Nobody settles by it.
journal_sum_day = sa.Table(
    "journal_sum_day",
    metadata,
    _key("jurisdiction"),
    _key("booked_on", sa.Date()),
    _key("kind"),
    _key("pool"),
    _key("category"),  # empty: an allocation
    _column("entries", sa.BigInteger),
    _column("amount_fen", Fen),
)

journal_sum_store = sa.Table(
    "journal_sum_store",
    metadata,
    _key("jurisdiction"),
    _key("store_id"),
    _key("kind"),
    _key("pool"),
    _column("entries", sa.BigInteger),
    _column("amount_fen", Fen),
)

journal_sum_mark = sa.Table(
    "journal_sum_mark",
    metadata,
    _key("jurisdiction"),
    _column("until_entry", sa.BigInteger),
)

# --- settlements ------------------------------------------------------------------------


def _settlement_columns() -> list[sa.Column[Any]]:
    return [
        _key("jurisdiction"),
        _key("settlement_id", UUID(as_uuid=True)),
        _column("retailer_id", sa.Text),
        _column("kind", sa.Text),
        _column("from_on", sa.Date),
        _column("to_on", sa.Date),
        _column("state", sa.Text),
        _column("entries", sa.BigInteger),
        _column("granted_fen", Fen),
        _column("refunded_fen", Fen),  # negative, as in the journal
        _column("clawed_back_fen", Fen),  # negative
        _column("advanced_fen", Fen),  # of paid advances, taken off here
        _column("net_fen", Fen),
        _column("drafted_by", sa.Text),
        _column("drafted_at", Instant),
        sa.Column("approved_by", sa.Text),
        sa.Column("approved_at", Instant),
        sa.Column("paid_by", sa.Text),
        sa.Column("paid_at", Instant),
        sa.Column("payment_reference", sa.Text),
        sa.Column("netted_in", UUID(as_uuid=True)),  # of an advance: what took it off
    ]


settlement = sa.Table(
    "settlement",
    metadata,
    *_settlement_columns(),
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
    _column("voided_by", sa.Text),
    _column("voided_at", Instant),
    _column("void_reason", sa.Text),
)

settled_entry = sa.Table(
    "settled_entry",
    metadata,
    _key("jurisdiction"),
    _key("entry_no", sa.BigInteger()),  # so each entry is settled once
    _column("settlement_id", UUID(as_uuid=True)),
    _column("part", sa.Text),
    _column("claim_id", UUID(as_uuid=True)),
    _column("line_no", sa.SmallInteger),
    _column("amount_fen", Fen),
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
    _key("jurisdiction"),
    _key("settlement_id", UUID(as_uuid=True)),
    _key("entry_no", sa.BigInteger()),
    _column("part", sa.Text),
    _column("claim_id", UUID(as_uuid=True)),
    _column("line_no", sa.SmallInteger),
    _column("amount_fen", Fen),
    sa.ForeignKeyConstraint(
        ["jurisdiction", "settlement_id"],
        ["voided_settlement.jurisdiction", "voided_settlement.settlement_id"],
        name="voided_entry_settlement_fkey",
    ),
)

# --- reconciliations --------------------------------------------------------------------

reconciliation = sa.Table(
    "reconciliation",
    metadata,
    _key("jurisdiction"),
    _key("reconciliation_id", UUID(as_uuid=True)),
    sa.Column("retailer_id", sa.Text),
    sa.Column("store_id", sa.Text),
    _column("from_on", sa.Date),
    _column("to_on", sa.Date),
    _column("mapping", JSONB),
    _column("file_sha256", BYTEA),
    _column("file_bytes", sa.BigInteger),
    _column("state", sa.Text),
    _column("progress_bp", sa.Integer, server_default=sa.text("0")),
    # By the real clock: is the run alive?
    _column("began_at", Instant, server_default=sa.text("clock_timestamp()")),
    _column("beat_at", Instant, server_default=sa.text("clock_timestamp()")),
    _column("asked_by", sa.Text),
    _column("asked_at", Instant),
    sa.Column("ended_at", Instant),
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
    _key("jurisdiction"),
    _key("reconciliation_id", UUID(as_uuid=True)),
    _key("item_no", sa.BigInteger()),
    _column("finding", sa.Text),
    sa.Column("file_line", sa.BigInteger),
    sa.Column("key", sa.Text),
    sa.Column("claim_id", UUID(as_uuid=True)),
    sa.Column("line_no", sa.SmallInteger),
    sa.Column("booked_on", sa.Date),
    sa.Column("here_fen", Fen),
    sa.Column("there_fen", Fen),
    sa.Column("here_state", sa.Text),
    sa.Column("there_state", sa.Text),
    sa.Column("why", sa.Text),
    sa.ForeignKeyConstraint(
        ["jurisdiction", "reconciliation_id"],
        ["reconciliation.jurisdiction", "reconciliation.reconciliation_id"],
        name="reconciliation_item_fkey",
    ),
)
