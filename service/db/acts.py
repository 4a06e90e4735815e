"""The append-only record of what operators do to retailers, stores, keys and budgets, and of each
search for a person's claims.

An act and its record are in one transaction, so neither exists without the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.core.calendar import SHANGHAI
from service.db.tables import admin_act


@dataclass(frozen=True, slots=True)
class ActContext:
    """Who acts, where and when, in the transaction of `connection`."""

    connection: AsyncConnection
    jurisdiction: str
    actor: str  # a key's id, or `cli:<user>`
    now: datetime

    async def record(
        self,
        act: str,
        subject_kind: str,
        subject_id: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Put the act on record. Nothing in it may be a secret or lead to a person: no number of a
        document and no digest of one. The subject of a search is the kind of document."""
        row = self._row(act, subject_kind, subject_id, before, after)
        await self.connection.execute(sa.insert(admin_act), [row])

    async def record_each(
        self, act: str, subject_kind: str, after: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Put the same act on record for several subjects. `after` has each subject's new state, by
        its id; it must hold no secret."""
        rows = [
            self._row(act, subject_kind, subject_id, None, state)
            for subject_id, state in after.items()
        ]
        if rows:
            await self.connection.execute(sa.insert(admin_act), rows)

    def _row(
        self,
        act: str,
        subject_kind: str,
        subject_id: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        return {
            "jurisdiction": self.jurisdiction,
            "at": self.now,
            "actor": self.actor,
            "act": act,
            "subject_kind": subject_kind,
            "subject_id": subject_id,
            "before": before,
            "after": after,
        }


@dataclass(frozen=True, slots=True)
class Act:
    """An act as recorded."""

    act_no: int
    at: datetime
    actor: str
    act: str
    subject_kind: str
    subject_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


async def read_acts(
    connection: AsyncConnection, jurisdiction: str, *, before_no: int | None, limit: int
) -> list[Act]:
    """At most `limit` acts, newest first; only those numbered below `before_no`, if it is given."""
    columns = [admin_act.c[name] for name in Act.__dataclass_fields__]
    query = sa.select(*columns).where(admin_act.c.jurisdiction == jurisdiction)
    if before_no is not None:
        query = query.where(admin_act.c.act_no < before_no)
    query = query.order_by(admin_act.c.act_no.desc()).limit(limit)
    return [_act(row) for row in await connection.execute(query)]


def _act(row: sa.Row[Any]) -> Act:
    columns = dict(row._mapping)
    return Act(at=columns.pop("at").astimezone(SHANGHAI), **columns)
