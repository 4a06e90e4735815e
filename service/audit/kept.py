"""The newest audit's result among the metrics."""

from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from service import metrics
from service.db.engine import LedgerAway, connect
from service.db.tables import audit_run


async def show_last_audit(engine: AsyncEngine, jurisdiction: str) -> None:
    """Set the gauges; with the ledger away they keep what they showed."""
    query = (
        sa.select(audit_run.c.finished_at, audit_run.c.breaches)
        .where(audit_run.c.jurisdiction == jurisdiction)
        .order_by(audit_run.c.run_no.desc())
        .limit(1)
    )
    with suppress(LedgerAway):
        async with connect(engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is not None:
            metrics.audit_finished.set(row.finished_at.timestamp())
            for name, breaches in row.breaches.items():
                metrics.audit_breaches.labels(name).set(breaches)
