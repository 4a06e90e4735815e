"""The gate: Redis in front of the ledger. It says no fast.

It is a view of the ledger that heals itself: each pool's `(allocated, spent)` as of the
newest version told, minus the admissions in flight. It remembers idempotency keys, serials
and rights for a while; what it has forgotten, the ledger still refuses, and a "taken" of
its own is only a hint that the ledger is asked about.

When Redis is away, slow or empty, every method raises GateAway within `TIMEOUT_S`.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import redis.asyncio as redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from service.claims.claim import Attempt, PendingClaim
from service.claims.commit import PoolState
from service.claims.outcomes import GateAway

# Longer than any healthy answer (a script call takes a millisecond), short enough that a
# stopped Redis holds nobody up.
TIMEOUT_S = 0.25

# How long a key, serial or right is remembered. Long enough to catch a till that retries or
# a serial that goes round; at 100 claims a second this is some 60 MB.
MEMORY_S = 600

# An admission that is older has lost its process: commits take milliseconds. Too short would
# cost a claim or two, never money: the sweeper fences before it releases.
ADMISSION_S = 10

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Admitted:
    """Recorded in the gate; the claim must be committed or given up."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The idempotency key was seen before; the ledger or its first request knows more."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A serial or a right is known to be taken; the ledger knows for sure."""


@dataclass(frozen=True, slots=True)
class Short:
    """The ledger itself has less left than the claim takes. `left_fen` by pool."""

    left_fen: dict[str, int]


@dataclass(frozen=True, slots=True)
class Contested:
    """What is left is wanted by admissions in flight: ask again in a moment."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The gate does not know the pools yet; the ledger decides."""


Admission = Admitted | Seen | Taken | Short | Contested | Unknown


class Gate:
    """The gate of one jurisdiction. All its keys share a hash tag, so it runs on a cluster."""

    def __init__(self, client: redis.Redis, jurisdiction: str, pools: Sequence[str]) -> None:
        self._client = client
        self._prefix = f"butie:{{{jurisdiction}}}:"
        self._pools = sorted(pools)
        self._fixed_keys = [self._prefix + "admissions"] + [
            f"{self._prefix}pool:{pool}" for pool in self._pools
        ]
        self._admit = client.register_script((_HERE / "admit.lua").read_text())
        self._settle = client.register_script((_HERE / "settle.lua").read_text())
        self._forget = client.register_script((_HERE / "forget.lua").read_text())

    async def admit(self, batch: Sequence[PendingClaim]) -> list[Admission]:
        """Admit each claim of the batch wholly or not at all, in one call."""
        keys = _Keys(self._prefix, self._fixed_keys)
        head = {
            "pools": self._pools,
            "ttl_s": MEMORY_S,
            "until_ms": int((time.time() + ADMISSION_S) * 1000),
        }
        args = [json.dumps(head)] + [json.dumps(_wanted(claim, keys)) for claim in batch]
        answer = await self._call(self._admit, keys.names, args)
        words = [word.decode() for word in answer[: len(batch)]]
        left_fen = dict(zip(self._pools, map(int, answer[len(batch) + 1 :]), strict=True))
        return [_admission(word, left_fen) for word in words]

    async def settle(
        self,
        views: Iterable[PoolState] = (),
        *,
        done: Iterable[UUID] = (),
        undone: Iterable[PendingClaim] = (),
    ) -> int:
        """Take over the ledger's view of the pools and end admissions; harmless to repeat.

        `done` were committed; `undone` came to nothing, and what they put down is forgotten.
        Returns how many admissions were dropped.
        """
        keys = _Keys(self._prefix, self._fixed_keys)
        undone = list(undone)
        order = {
            "pools": self._pools,
            "views": [[v.pool, v.allocated_fen, v.spent_fen, v.version] for v in views],
            "done": [str(claim_id) for claim_id in done] + [str(c.claim_id) for c in undone],
            "undo": [_undo(claim, keys) for claim in undone],
        }
        return int(await self._call(self._settle, keys.names, [json.dumps(order)]))

    async def forget(self, claim: PendingClaim) -> None:
        """Forget what is remembered of the claim's key, serials and rights, but not what is in
        flight: the ledger knows of none of it."""
        keys = _Keys(self._prefix, self._fixed_keys[:1])
        _undo(claim, keys)
        await self._call(self._forget, keys.names, [])

    async def overdue(self, now_s: float) -> list[Attempt]:
        """Admissions past their deadline (`now_s`: real Unix seconds): their process is gone."""
        try:
            admissions: Any = await self._client.hgetall(self._fixed_keys[0])
        except (RedisError, OSError, TimeoutError) as error:
            raise GateAway from error
        records = [(claim_id, json.loads(record)) for claim_id, record in admissions.items()]
        return [
            Attempt(record["retailer"], record["key"], UUID(claim_id.decode()))
            for claim_id, record in records
            if record["until"] < now_s * 1000
        ]

    async def ping(self) -> None:
        """Raises GateAway when Redis does not answer."""
        try:
            await self._client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            raise GateAway from error

    async def _call(self, script: AsyncScript, keys: list[str], args: list[str]) -> Any:
        try:
            return await script(keys=keys, args=args)
        except (RedisError, OSError, TimeoutError) as error:
            raise GateAway from error


def _admission(word: str, left_fen: dict[str, int]) -> Admission:
    match word:
        case "admitted":
            return Admitted()
        case "seen":
            return Seen()
        case "taken":
            return Taken()
        case "short":
            return Short(left_fen)
        case "contested":
            return Contested()
        case "unknown":
            return Unknown()
    raise AssertionError(f"Bug! The gate answered {word}.")


class _Keys:
    """The keys that a script call names, each once; Lua refers to them by index from 1."""

    def __init__(self, prefix: str, fixed: list[str]) -> None:
        self._prefix = prefix
        self.names = list(fixed)
        self._at = {name: n for n, name in enumerate(self.names, start=1)}

    def at(self, name: str) -> int:
        name = self._prefix + name
        if name not in self._at:
            self.names.append(name)
            self._at[name] = len(self.names)
        return self._at[name]


def _key_name(claim: PendingClaim) -> str:
    return f"key:{claim.seller.retailer_id}:{claim.idempotency_key}"


def _rights(claim: PendingClaim, keys: _Keys) -> list[tuple[int, str, int, int]]:
    """(index, field, amount, limit): each line's use of a right is a field of its own."""
    return [
        (
            keys.at(f"right:{right.subject.hex()}:{right.quota}:{right.period}"),
            f"{claim.claim_id}:{line.line_no}",
            right.amount,
            right.limit,
        )
        for line in claim.lines
        for right in line.rights
    ]


def _serials(claim: PendingClaim, keys: _Keys) -> list[int]:
    return [keys.at(f"serial:{serial}") for line in claim.lines for serial in line.serials]


def _wanted(claim: PendingClaim, keys: _Keys) -> dict[str, object]:
    return {
        "id": str(claim.claim_id),
        "seen": keys.at(_key_name(claim)),
        "retailer": claim.seller.retailer_id,
        "key": claim.idempotency_key,
        "serials": _serials(claim, keys),
        "rights": _rights(claim, keys),
        "fen": claim.fen_by_pool(),
    }


def _undo(claim: PendingClaim, keys: _Keys) -> list[object]:
    return [
        str(claim.claim_id),
        [keys.at(_key_name(claim)), *_serials(claim, keys)],
        [[at, field] for at, field, _, _ in _rights(claim, keys)],
    ]
