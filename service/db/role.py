"""The privileges of the service's own role in PostgreSQL.

The schema belongs to the role that migrates. So no one can rewrite the books with the service's
password: it allows no update of an entry, no drop, no disabled trigger.
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.config import Misconfigured
from service.db.engine import connect, make_engine

# Some sixty statements on the catalogue, which no till waits for.
GRANT_S = 30

# Rows of these are written once. Triggers refuse changes as well. The owner could disable the
# triggers; this role cannot.
APPEND_ONLY = frozenset(
    {
        "adjustment",
        "admin_act",
        "audit_day",
        "audit_mark",
        "audit_proof",
        "audit_run",
        "journal",
        "journal_day",
        "journal_seal",
        "pii_key",
        "policy_funding",
        "reconciliation_item",
        "refund",
        "settled_entry",
        "voided_entry",
        "voided_settlement",
    }
)
# A refund frees the serials of its lines. Voiding a draft frees its entries; a trigger checks that
# it was a draft. An invoice that is replaced frees its lines; its paper stays on record. Old
# readings of the pools are thinned out. An audit replaces its proof, and removes the marks that it
# has looked at. So the service's password is enough to hide a change from the hourly audit, and not
# from `butie audit --full`.
MAY_DELETE = frozenset(
    {
        "audit_day",
        "audit_mark",
        "audit_proof",
        "invoice",
        "line_invoiced",
        "pool_reading",
        "serial_claimed",
        "settled_entry",
        "settlement",
    }
)
# Triggers write these with the owner's privileges.
WRITTEN_BY_TRIGGERS = frozenset({"audit_mark"})
READ_ONLY = frozenset({"alembic_version"})

# Tables (partitioned ones too), views, sequences.
RELATIONS = """
SELECT c.relname, c.relkind::text FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace
  AND c.relkind IN ('r', 'p', 'v', 'S') AND pg_has_role(current_user, c.relowner, 'USAGE')
ORDER BY c.relname
"""


def privileges(relation: str, *, table: bool = True) -> str:
    """The privileges of the service on a relation, as GRANT spells them."""
    if not table or relation in READ_ONLY:
        return "SELECT"
    insert = "" if relation in WRITTEN_BY_TRIGGERS else ", INSERT"
    update = "" if relation in APPEND_ONLY else ", UPDATE"
    return f"SELECT{insert}{update}" + (", DELETE" if relation in MAY_DELETE else "")


async def grant_to_service(database_url: str, role: str) -> None:
    """Give the role exactly what the service needs on a migrated schema; revoke anything else.

    `database_url` is the owner's. Raises Misconfigured when there is no such role, or when it
    may do all that the owner may; LedgerAway.
    """
    engine = make_engine(database_url, connections_max=1)
    try:
        async with connect(engine, within_s=GRANT_S) as connection:
            await _check(connection, role)
            await _grant(connection, role)
    finally:
        await engine.dispose()


async def _check(connection: AsyncConnection, role: str) -> None:
    known = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :role")
    if await connection.scalar(known, {"role": role}) is None:
        raise Misconfigured(
            f"BUTIE_SERVICE_ROLE is {role}, and PostgreSQL has no such role: "
            f"CREATE ROLE {role} LOGIN PASSWORD '…'; then migrate again."
        )
    mighty = sa.text("SELECT pg_has_role(:role, current_user, 'USAGE')")
    if await connection.scalar(mighty, {"role": role}):
        raise Misconfigured(
            f"BUTIE_SERVICE_ROLE is {role}, which may do all that the tables' owner may: make a "
            "role of its own for the service, and migrate as another."
        )


async def _grant(connection: AsyncConnection, role: str) -> None:
    quoted = connection.dialect.identifier_preparer.quote
    schema = quoted(str(await connection.scalar(sa.text("SELECT current_schema()"))))
    await connection.execute(sa.text(f"GRANT USAGE ON SCHEMA {schema} TO {quoted(role)}"))
    for relation, kind in (await connection.execute(sa.text(RELATIONS))).all():
        what = f"{'SEQUENCE ' if kind == 'S' else ''}{schema}.{quoted(relation)}"
        granted = privileges(relation, table=kind in ("r", "p"))
        await connection.execute(sa.text(f"REVOKE ALL ON {what} FROM {quoted(role)}"))
        await connection.execute(sa.text(f"GRANT {granted} ON {what} TO {quoted(role)}"))
