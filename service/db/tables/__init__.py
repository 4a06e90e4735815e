"""The tables, as SQLAlchemy sees them; `migrations/` makes them.

Every row belongs to a jurisdiction. Uniqueness lives in small tables of its own
(`idempotency_key`, `serial_claimed`, `quota_use`), so that `claim`, `claim_line` and
`journal` can be split by month without losing a constraint. The claim path's tables have
no foreign keys: one function writes them all, and a key check for each row would lock
the same few parent rows again and again.
"""

from service.db.tables.base import metadata
from service.db.tables.books import (
    journal,
    journal_day,
    journal_seal,
    journal_sum_day,
    journal_sum_mark,
    journal_sum_store,
    policy_funding,
    pool_day,
    pool_reading,
    sales_sum_day,
    sales_sum_mark,
    sales_sum_store,
)
from service.db.tables.budget import adjustment, pool, pool_part, tranche
from service.db.tables.callers import admin_act, api_key, retailer, store
from service.db.tables.claims import (
    audit_day,
    audit_mark,
    audit_proof,
    audit_run,
    claim,
    claim_line,
    idempotency_key,
    invoice,
    invoice_paper,
    line_invoiced,
    pii_key,
    quota_use,
    refund,
    serial_claimed,
)
from service.db.tables.settling import (
    reconciliation,
    reconciliation_item,
    settled_entry,
    settlement,
    voided_entry,
    voided_settlement,
)

__all__ = [
    "adjustment",
    "admin_act",
    "api_key",
    "audit_day",
    "audit_mark",
    "audit_proof",
    "audit_run",
    "claim",
    "claim_line",
    "idempotency_key",
    "invoice",
    "invoice_paper",
    "journal",
    "journal_day",
    "journal_seal",
    "journal_sum_day",
    "journal_sum_mark",
    "journal_sum_store",
    "line_invoiced",
    "metadata",
    "pii_key",
    "policy_funding",
    "pool",
    "pool_day",
    "pool_part",
    "pool_reading",
    "quota_use",
    "reconciliation",
    "reconciliation_item",
    "refund",
    "retailer",
    "sales_sum_day",
    "sales_sum_mark",
    "sales_sum_store",
    "serial_claimed",
    "settled_entry",
    "settlement",
    "store",
    "tranche",
    "voided_entry",
    "voided_settlement",
]
