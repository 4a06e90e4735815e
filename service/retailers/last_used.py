"""When each key was last used: noted in memory, written a few times a minute."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from service.background import Loop
from service.db.engine import LedgerAway, connect

WRITE_EVERY_S = 10.0

_WRITE = sa.text("""
UPDATE api_key AS k SET last_used_at = u.at
FROM unnest(cast(:keys AS text[]), cast(:times AS timestamptz[])) AS u (key_id, at)
WHERE k.jurisdiction = :jurisdiction AND k.key_id = u.key_id
    AND (k.last_used_at IS NULL OR k.last_used_at < u.at)
""")


class LastUsed:
    """One in each worker. A fault here never affects a request."""

    def __init__(self, engine: AsyncEngine, jurisdiction: str) -> None:
        self._engine = engine
        self._jurisdiction = jurisdiction
        self._used: dict[str, datetime] = {}

    def note(self, key_id: str, now: datetime) -> None:
        self._used[key_id] = now

    def loop(self) -> Loop:
        return Loop("last_used", WRITE_EVERY_S, self.write)

    async def write(self) -> None:
        """Write what was noted; what cannot be written now is kept for the next time."""
        if not self._used:
            return
        used, self._used = self._used, {}
        order = sorted(used)  # so that two workers do not lock each other out
        values = {
            "jurisdiction": self._jurisdiction,
            "keys": order,
            "times": [used[key_id] for key_id in order],
        }
        try:
            async with connect(self._engine) as connection:
                await connection.execute(_WRITE, values)
        except LedgerAway:
            self._used = used | self._used
