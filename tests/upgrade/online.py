"""Checks the SQL of a migration: may it run on large tables while claims go on?

A fault is a statement that rewrites, scans or locks a large table for long, or that breaks the
former release's code. Its sentence says what to do instead.
"""

import re
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from service.db.engine import LOCK_TIMEOUT_MS

# The tables that grow with the claims.
LARGE = (
    *("claim", "claim_line", "journal", "journal_seal", "settled_entry", "invoice", "refund"),
    *("idempotency_key", "serial_claimed", "quota_use", "admin_act"),
)
_TABLE = r'(?:ONLY )?(?:IF (?:NOT )?EXISTS )?"?(?:public"?\.)?"?(?P<table>\w+)"?'
_ALTER = rf"ALTER TABLE {_TABLE} (?:.*, ?)?"
_ADD = rf"{_ALTER}ADD (?:COLUMN )?(?:IF NOT EXISTS )?(?!CONSTRAINT)\w+ "

# (pattern, what is wrong with it on a large table, and what to do instead).
BLOCKING = (
    (
        rf"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)(?:IF NOT EXISTS )?\w* ?ON {_TABLE}",
        "locks out every claim while it is built: CREATE INDEX CONCURRENTLY",
    ),
    (rf"{_ADD}(?![^,]*DEFAULT)[^,]*NOT NULL", "the former release does not fill it: a default"),
    (rf"{_ADD}[^,]*(?:GENERATED|SERIAL|UNIQUE|PRIMARY|REFERENCES|CHECK)", "a plain column first"),
    (rf"{_ADD}[^,]*DEFAULT (?!now)[^,]*\(", "rewrites the table: a default must be constant"),
    (rf"{_ALTER}ALTER (?:COLUMN )?\w+ (?:SET DATA )?TYPE", "rewrites the table: a new column"),
    (rf"{_ALTER}ALTER (?:COLUMN )?\w+ SET NOT NULL", "scans the table: a CHECK, NOT VALID first"),
    (rf"{_ALTER}ADD CONSTRAINT \w+ (?:CHECK|FOREIGN)(?!.*NOT VALID)", "scans it: NOT VALID first"),
    (rf"{_ALTER}ADD CONSTRAINT \w+ (?:UNIQUE|PRIMARY KEY)(?! USING)", "locks it: USING INDEX"),
    (rf"{_ALTER}(?:SET (?:TABLESPACE|LOGGED|UNLOGGED)|ATTACH|INHERIT)", "locks it for minutes"),
    (
        rf"(?:UPDATE|DELETE FROM|TRUNCATE|CLUSTER|VACUUM FULL|LOCK|REINDEX)(?: TABLE)? {_TABLE}",
        "locks its rows for minutes: fill it in small steps, by a command",
    ),
)
_LOCKING = re.compile(rf"(?:ALTER TABLE|CREATE TRIGGER .* ON|CREATE .*INDEX .* ON) {_TABLE}", re.I)
CONTRACTING = re.compile(
    r"ALTER .*\bRENAME\b|DROP (?:TABLE|VIEW|FUNCTION)"
    r"|ALTER TABLE.* DROP (?!CONSTRAINT|NOT NULL|DEFAULT)",
    re.I,
)


def statements(migration: Any) -> list[str]:
    """The SQL statements of a migration's upgrade, each in one line, without comments."""
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True})
    recorded: list[str] = []
    context.impl._exec = lambda sql, *_, **__: recorded.append(str(sql))  # type: ignore[method-assign]
    with Operations.context(context):
        migration.upgrade()
    return [" ".join(re.sub(r"--[^\n]*", "", sql).split()) for sql in recorded]


def faults(migration: Any) -> list[str]:
    """The faults of a migration, a sentence each; empty when it may run while claims go on."""
    sentences = []
    created_tables: set[str] = set()
    patient = False
    for statement in statements(migration):
        if "lock_timeout" in statement:
            patient = f"{LOCK_TIMEOUT_MS}ms" not in statement
        if created := re.match(rf"CREATE TABLE {_TABLE}", statement, re.I):
            created_tables.add(created["table"])
        for pattern, why in BLOCKING:
            match = re.match(pattern, statement, re.I)
            if match and match["table"] in LARGE and match["table"] not in created_tables:
                sentences.append(f"{statement[:90]}: {why}")
        locking = _LOCKING.match(statement)
        # An index that is built CONCURRENTLY waits for snapshots, and no claim waits for it.
        locks_out = locking and "CONCURRENTLY" not in statement
        if patient and locks_out and locking["table"] not in created_tables:
            sentences.append(f"{statement[:90]}: leave the lock_timeout to migrations/env.py")
        if CONTRACTING.match(statement) and not getattr(migration, "unused_since", ""):
            sentences.append(
                f"{statement[:90]}: the former release may use it; drop it a release later, and "
                "set `unused_since` to the first release that does not use it"
            )
    return sentences
