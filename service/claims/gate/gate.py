"""The gate: Redis in front of the ledger. It refuses fast, and grants nothing.

The gate holds a copy of each pool's rows (`allocated`, `spent`), each at the newest version that it
has heard of, and the admissions in flight: claims that are on their way to the ledger. A claim is
admitted if its money fits in allocated - spent - in flight; if even
allocated - spent is too little, it is refused here. The gate also remembers idempotency keys,
serials and quotas for a time. What it remembers is a hint, which the ledger confirms. That it
remembers no key counts as proof only back to `since` (admit.lua), and for at most MEMORY_S.

A gate that lost its data, or is behind, makes claims slower and cannot overspend. It is corrected
by every commit (`settle`) and by the sweeper (`follow`).

If Redis fails or does not answer within TIMEOUT_S (connection.py), the method raises GateAway. From
then on `admit`, `settle`, `forget` and `in_flight` raise it at once, until `follow` has succeeded.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from service import metrics
from service.claims.claim import Footprint, PendingClaim
from service.claims.gate.answers import Admission, Candidate, Seen, Taken, read_admission
from service.claims.gate.connection import as_gate_away, open_client
from service.claims.gate.order import GateKeys, key_name, to_admit, to_undo
from service.claims.gate.view import GateView, read_view
from service.claims.outcomes import GateAway
from service.pools.state import PoolState

# How long a key, serial or quota is remembered. Long enough for a till's retries and for a serial
# that is tried at several tills. At 100 claims a second it takes some 60 MB.
MEMORY_S = 600

# Commits take milliseconds, so the process of an older admission has probably ended. If this were
# too short, a claim or two would fail, but no money would be lost: the sweeper fences first.
ADMISSION_S = 10

# Enough for the claims of some seconds without Redis.
OWED_MAX = 20_000

# Overdue admissions in one view: as many as one statement gives up quickly.
OVERDUE_MAX = 500

_HERE = Path(__file__).parent


class Gate:
    """The gate of one jurisdiction. All its keys share a hash tag, so it can run on a cluster."""

    def __init__(self, redis_url: str, jurisdiction: str, pools: Sequence[str]) -> None:
        self._prefix = f"butie:{{{jurisdiction}}}:"
        self._pools = sorted(pools)
        self._fixed_keys = [
            self._prefix + name
            for name in ("admissions", "memory", *(f"pool:{pool}" for pool in self._pools))
        ]
        self._away = False
        # Admissions that Redis may hold and that no call will settle: the call failed, or was not
        # made. The next `follow` ends them; those that do not fit here wait for their deadline.
        self._owed: deque[UUID] = deque(maxlen=OWED_MAX)
        self._client = open_client(redis_url, memory_key=self._fixed_keys[1])
        self._admit = self._client.register_script((_HERE / "admit.lua").read_text())
        self._settle = self._client.register_script((_HERE / "settle.lua").read_text())
        self._forget = self._client.register_script((_HERE / "forget.lua").read_text())
        self._view = self._client.register_script((_HERE / "view.lua").read_text())
        self._times = {
            self._admit: metrics.gate_seconds.labels("admit"),
            self._settle: metrics.gate_seconds.labels("settle"),
            self._forget: metrics.gate_seconds.labels("forget"),
            self._view: metrics.gate_seconds.labels("look"),  # a label that dashboards know
        }

    async def close(self) -> None:
        await self._client.aclose()

    @property
    def away(self) -> bool:
        """Whether a call failed and the sweeper's has not succeeded since."""
        return self._away

    async def admit(self, batch: Sequence[Candidate]) -> list[Admission]:
        """Admit each claim of the batch, or refuse it, in one call. The answers are in order."""
        keys = GateKeys(self._prefix, self._fixed_keys)
        order = {
            "pools": self._pools,
            "ttl_s": MEMORY_S,
            "until_ms": int((time.time() + ADMISSION_S) * 1000),
            "claims": [to_admit(candidate.claim, candidate.age_ms, keys) for candidate in batch],
        }
        try:
            answer = await self._call(self._admit, keys.names, order)
        except GateAway:
            self._owed.extend(candidate.claim.claim_id for candidate in batch)
            raise
        words = [word.decode() for word in answer[: len(batch)]]
        left_fen = dict(zip(self._pools, map(int, answer[len(batch) + 1 :]), strict=True))
        return [read_admission(word, left_fen) for word in words]

    async def settle(
        self,
        rows: Iterable[PoolState] = (),
        *,
        done: Iterable[UUID] = (),
        undone: Iterable[PendingClaim] = (),
        freed: Iterable[Footprint] = (),
    ) -> int:
        """Copy newer rows of pools from the ledger and end admissions. Idempotent.

        `done`: claims that were committed. `undone`: claims that failed; the gate forgets their
        key, serials and quotas. `freed`: serials and quotas that were given back. Returns how many
        admissions were ended.
        """
        keys = GateKeys(self._prefix, self._fixed_keys)
        undone = list(undone)
        undo = [to_undo(claim.footprint(), keys, key_name(claim)) for claim in undone]
        undo += [to_undo(footprint, keys) for footprint in freed]
        order = self._order([(row, -1) for row in rows])
        ended = [*done, *(claim.claim_id for claim in undone)]
        order["done"] = ended
        order["undo"] = undo
        try:
            return int(await self._call(self._settle, keys.names, order))
        except GateAway:
            self._owed.extend(ended)
            raise

    async def forget(self, claim: PendingClaim, stale: Seen | Taken) -> None:
        """Forget the claim's key, serials and quotas, except what is in flight. To be called when
        the ledger was read after the gate answered `stale`, and has none of them."""
        keys = GateKeys(self._prefix, self._fixed_keys[:1])
        to_undo(claim.footprint(), keys, key_name(claim))  # collects the keys; the first is KEYS[2]
        holder = stale.claim_id if isinstance(stale, Seen) else ""
        await self._call(self._forget, keys.names, {"holder": holder})

    async def in_flight(self, retailer_id: str, idempotency_key: str) -> bool:
        """Whether a claim of this key is admitted and not settled yet."""
        if self._away:
            raise GateAway
        name = f"{self._prefix}key:{retailer_id}:{idempotency_key}"
        with as_gate_away():
            holder: Any = await self._client.get(name)
            flies: Any = holder and await self._client.hexists(self._fixed_keys[0], holder)
            return bool(flies)

    # --- the sweeper's ------------------------------------------------------------------

    async def view(self, now_s: float) -> GateView:
        """What the gate has. `now_s`: real time, in Unix seconds. Works on a gate that was away."""
        order = {
            "pools": self._pools,
            "now_ms": int(now_s * 1000),
            "overdue_max": OVERDUE_MAX,
        }
        return read_view(await self._call(self._view, self._fixed_keys, order, probe=True))

    async def follow(
        self, rows: Sequence[PoolState], gate_versions: dict[tuple[str, int], int]
    ) -> None:
        """Copy every row of every pool from the ledger, and put the gate in service again.

        `gate_versions`: what the gate had before `rows` were read. A row that is older now, or a
        slice that is missing, means that the ledger was restored from a backup: the gate then takes
        the older row. Admissions whose end Redis did not hear of are ended too.
        """
        known = {(row.pool, row.slice_no) for row in rows}
        gone = [PoolState(*key, 0, 0, 0, 0) for key in gate_versions if key[1] and key not in known]
        replacing = []
        for row in [*rows, *gone]:
            gate_version = gate_versions.get((row.pool, row.slice_no), -1)
            replacing.append((row, gate_version if gate_version > row.version else -1))
        order = self._order(replacing)
        owed = list(self._owed)
        order["done"] = owed
        await self._call(self._settle, self._fixed_keys, order, probe=True)
        for _ in owed:
            self._owed.popleft()
        self._away = False

    async def check(self) -> None:
        """Raises GateAway when Redis does not answer or takes no writes."""
        with as_gate_away():
            # A write, so that a replica or a full memory refuses it. Redis stores nothing for it.
            await self._client.setrange(f"{self._prefix}probe", 0, "")

    # ------------------------------------------------------------------------------------

    def _order(self, rows: Iterable[tuple[PoolState, int]]) -> dict[str, object]:
        """settle.lua's order for these rows, each with the version that it may replace though it is
        newer (-1: none)."""
        return {
            "pools": self._pools,
            "rows": [
                [r.pool, r.slice_no, r.allocated_fen, r.spent_fen, r.version, r.bypasses, replaces]
                for r, replaces in rows
            ],
            "done": [],
            "undo": [],
        }

    async def _call(
        self, script: AsyncScript, keys: list[str], order: object, *, probe: bool = False
    ) -> Any:
        """The script's answer to this order, which it gets as JSON."""
        if self._away and not probe:
            raise GateAway
        try:
            with as_gate_away(), self._times[script].time():
                return await script(keys=keys, args=[to_json(order)])
        except GateAway:
            self._away = True
            # The pool's other connections are probably dead too, and each would fail in turn.
            with suppress(RedisError, OSError, TimeoutError):
                await self._client.connection_pool.disconnect(inuse_connections=False)
            raise
