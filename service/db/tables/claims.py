"""Claims, and the small tables that keep each key, serial and right once."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB, UUID

from service.db.tables.base import FenType, InstantType, column, key, metadata

idempotency_key = sa.Table(
    "idempotency_key",
    metadata,
    key("jurisdiction"),
    key("retailer_id"),
    key("idempotency_key"),
    sa.Column("claim_id", UUID(as_uuid=True)),  # none: no claim came of it
    sa.Column("fingerprint", BYTEA),
    # Claim ids that were given up under this key: a late commit of one must fail.
    column("fenced", ARRAY(UUID(as_uuid=True)), server_default=sa.text("'{}'")),
)

serial_claimed = sa.Table(
    "serial_claimed",
    metadata,
    key("jurisdiction"),
    key("serial_no"),
    column("claim_id", UUID(as_uuid=True)),
    column("line_no", sa.SmallInteger),
)

quota_use = sa.Table(
    "quota_use",
    metadata,
    key("jurisdiction"),
    key("subject", BYTEA()),
    key("quota"),
    key("period"),
    column("used", sa.BigInteger),  # items, or fen where the right is a sum
    column("used_max", sa.BigInteger),
    sa.CheckConstraint("used >= 0", name="quota_not_negative"),
    sa.CheckConstraint("used <= used_max", name="quota_not_passed"),
)

claim = sa.Table(
    "claim",
    metadata,
    key("claim_id", UUID(as_uuid=True)),
    column("jurisdiction", sa.Text),
    column("retailer_id", sa.Text),
    column("store_id", sa.Text),
    column("idempotency_key", sa.Text),
    column("order_no", sa.Text),
    column("policy", sa.Text),
    column("state", sa.Text),
    column("sold_at", InstantType),
    column("created_at", InstantType),
    sa.Column("expires_at", InstantType),  # set where the claim began as a hold
    column("id_type", sa.Text),
    column("consumer_digest", BYTEA),
    column("consumer_last4", sa.Text),
    column("price_fen", FenType),
    column("subsidy_fen", FenType),
    sa.Column("invoice_no", sa.Text),
    sa.Column("delivery_region", sa.Text),
    sa.CheckConstraint(
        "state in ('reserved', 'confirmed', 'cancelled', 'expired')", name="claim_state_known"
    ),
    sa.CheckConstraint("0 <= subsidy_fen and subsidy_fen <= price_fen", name="claim_amounts"),
    sa.Index("claim_retailer_idx", "jurisdiction", "retailer_id", "claim_id"),
    sa.Index("claim_order_idx", "jurisdiction", "retailer_id", "order_no", "claim_id"),
    # Most claims are confirmed: a search for those uses `claim_retailer_idx`.
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
    # For the bureau's desk: a person's claims at every retailer.
    sa.Index("claim_consumer_idx", "consumer_digest"),
)

claim_line = sa.Table(
    "claim_line",
    metadata,
    key("claim_id", UUID(as_uuid=True)),
    key("line_no", sa.SmallInteger()),
    column("category", sa.Text),
    column("scheme", sa.Text),
    column("pool", sa.Text),
    column("state", sa.Text),
    column("price_fen", FenType),
    sa.Column("rate_bp", sa.Integer),  # none: a fixed sum
    column("cap_fen", FenType),
    column("subsidy_fen", FenType),
    sa.Column("energy_grade", sa.Text),
    column("serial_no", sa.Text),
    sa.Column("imei", sa.Text),
    sa.Column("barcode", sa.Text),
    sa.Column("brand", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("trade_in", JSONB),
    # The quotas that the line took: a refund gives back exactly these.
    column("quotas", JSONB),
    # Other facts of the item that pricing read (`ItemFacts`): the audit reads them again. Also
    # `imei2`, the second IMEI.
    sa.Column("facts", JSONB),
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
    # Lines whose serial number is typed otherwise than folded.
    sa.Index(
        "claim_line_folded_idx",
        sa.text("folded_serial(serial_no)"),
        "claim_id",
        "line_no",
        postgresql_where=sa.text("serial_no <> folded_serial(serial_no)"),
    ),
    sa.Index(
        "claim_line_imei2_idx",
        sa.text("(facts ->> 'imei2')"),
        "claim_id",
        postgresql_where=sa.text("facts ->> 'imei2' is not null"),
    ),
)

refund = sa.Table(
    "refund",
    metadata,
    key("jurisdiction"),
    key("retailer_id"),
    key("idempotency_key"),
    column("fingerprint", BYTEA),
    column("refund_id", UUID(as_uuid=True)),
    column("claim_id", UUID(as_uuid=True)),
    column("lines", ARRAY(sa.SmallInteger)),
    column("lines_refunded", sa.Integer),
    column("reason", sa.Text),
    column("subsidy_fen", FenType),
    column("created_at", InstantType),
    # All requested lines are refunded, or none: the statement itself counts them.
    sa.CheckConstraint("lines_refunded = cardinality(lines)", name="refund_is_whole"),
    sa.Index("refund_claim_idx", "claim_id"),
)

invoice = sa.Table(
    "invoice",
    metadata,
    key("jurisdiction"),
    key("number"),
    key("code"),  # empty: a fully digital invoice has none
    column("claim_id", UUID(as_uuid=True)),
    column("dated_on", sa.Date),
    column("buyer", sa.Text),
    column("total_fen", FenType),
    column("recorded_at", InstantType),
    sa.UniqueConstraint("claim_id", name="invoice_claim_key"),
)

# Every invoice that was ever filed, under its folded number.
invoice_paper = sa.Table(
    "invoice_paper",
    metadata,
    key("jurisdiction"),
    key("number"),
    key("code"),
    column("claim_id", UUID(as_uuid=True)),
    sa.Column("lines", ARRAY(sa.SmallInteger)),  # null: the whole sale's
    sa.Column("red_letter_of", sa.Text),  # the number that it takes back; the total is negative
    column("dated_on", sa.Date),
    column("buyer", sa.Text),
    column("total_fen", FenType),
    sa.Column("file_sha256", BYTEA),
    column("recorded_at", InstantType),
    sa.Column("replaced_at", InstantType),
    sa.CheckConstraint("(red_letter_of is null) = (total_fen > 0)", name="invoice_paper_sign"),
    sa.CheckConstraint("lines is null or red_letter_of is null", name="invoice_paper_lines"),
    sa.Index("invoice_paper_claim_idx", "claim_id"),
)

# The lines whose standing invoice is not the whole sale's.
line_invoiced = sa.Table(
    "line_invoiced",
    metadata,
    key("claim_id", UUID(as_uuid=True)),
    key("line_no", sa.SmallInteger()),
    column("jurisdiction", sa.Text),
    column("number", sa.Text),
    column("code", sa.Text),
)

audit_run = sa.Table(
    "audit_run",
    metadata,
    key("jurisdiction"),
    sa.Column("run_no", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    column("finished_at", InstantType),
    column("breaches", JSONB),  # how many, by invariant
    column("everything", sa.Boolean, server_default=sa.true()),  # no proof was relied on
)

# What the newest audit without a breach proved; see service/audit/proofs.py.
audit_proof = sa.Table(
    "audit_proof",
    metadata,
    key("jurisdiction"),
    column("proved_at", InstantType),
    column("since_claim", UUID(as_uuid=True)),  # this claim and later ones are looked at again
    column("seed", sa.BigInteger),
    column("claims", sa.BigInteger),  # the earlier ones
    column("lines", sa.BigInteger),
    column("keys_sum", sa.Numeric),
    column("serials_sum", sa.Numeric),
    column("quotas_sum", sa.Numeric),
    column("policies", JSONB),
    column("guard", sa.Text),
)

audit_day = sa.Table(
    "audit_day",
    metadata,
    key("jurisdiction"),
    key("day", sa.Date()),
    column("digest", BYTEA),
    column("entries", sa.BigInteger),
    column("pools", JSONB),
)

# What was changed or deleted since, marked by triggers. `former` is what the row said before. A
# mark without `claim_id` stands for everything.
audit_mark = sa.Table(
    "audit_mark",
    metadata,
    sa.Column("mark_no", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    column("jurisdiction", sa.Text),
    column("relation", sa.Text),
    sa.Column("claim_id", UUID(as_uuid=True)),
    sa.Column("line_no", sa.SmallInteger),
    sa.Column("former", JSONB(none_as_null=True)),
)

# The personal-data keys that the digests are made with; see service/claims/people/rotation.py.
pii_key = sa.Table(
    "pii_key",
    metadata,
    key("jurisdiction"),
    column("generation", sa.SmallInteger),  # how many keys there have been
    column("check_value", BYTEA),
    column("since", InstantType),
)
