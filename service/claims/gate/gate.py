"""The gate: Redis in front of the ledger. It says no fast.

It is a view of the ledger that heals itself: each pool's `(allocated, spent)` as of the
newest version told, minus the admissions in flight. It remembers idempotency keys, serials
and rights for a while; what it has forgotten, the ledger still refuses, and a "taken" of
its own is only a hint that the ledger is asked about.

When Redis is away or slow, every method raises GateAway within `TIMEOUT_S`; from then on all
but the sweeper's raise it at once, until the sweeper has got through.
"""

import json
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import hiredis
import redis.asyncio as redis
from pydantic_core import to_json
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from service import metrics
from service.claims.claim import Attempt, Footprint, PendingClaim
from service.claims.gate.order import Keys, key_name, to_admit, to_undo
from service.claims.outcomes import GateAway
from service.core.value import value
from service.pools.state import PoolState, pools_left

# Longer than any healthy answer (a script call takes a millisecond), short enough that a
# stopped Redis holds nobody up.
TIMEOUT_S = 0.25

# How long a key, serial or right is remembered. Long enough to catch a till that retries or
# a serial that goes round; at 100 claims a second this is some 60 MB.
MEMORY_S = 600

# An admission that is older has lost its process: commits take milliseconds. Too short would
# cost a claim or two, never money: the sweeper fences before it releases.
ADMISSION_S = 10

# Some seconds' worth of claims without Redis.
OWED_MAX = 20_000

# How many overdue admissions one look brings: as many as one statement gives up quickly.
OVERDUE_MAX = 500

_HERE = Path(__file__).parent
_RUN_ID = re.compile(rb"run_id:(\w+)")


@dataclass(frozen=True, slots=True)
class Admitted:
    """Recorded in the gate; the claim must be committed or given up."""


@value
class Seen:
    """The idempotency key was used before, by this claim; the ledger knows what came of it."""

    claim_id: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A serial or a right is known to be taken; the ledger knows for sure."""


@value
class Short:
    """The ledger itself has less left than the claim takes. `left_fen` by pool. `sure`: the
    gate remembers every claim that this key may have, and there is none."""

    left_fen: dict[str, int]
    sure: bool


@dataclass(frozen=True, slots=True)
class Contested:
    """The key, or the money that is left, is in flight: ask again in a moment."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The gate does not know the pools yet; the ledger decides."""


@value
class Candidate:
    """A claim that asks to be admitted. `age_ms`: how long ago, in milliseconds, a claim under
    its key may first have been made."""

    claim: PendingClaim
    age_ms: int


Admission = Admitted | Seen | Taken | Short | Contested | Unknown


@dataclass(frozen=True, slots=True)
class Look:
    """What the gate has: the versions of the rows that it knows, by pool and part, and the fen it
    takes each pool to have left. `overdue` are the first few of `overdue_count` admissions whose
    process is gone."""

    versions: dict[tuple[str, int], int]
    left_fen: dict[str, int]
    in_flight: int
    overdue_count: int
    overdue: list[Attempt]


def drift_fen(look: Look, pools: Sequence[PoolState]) -> dict[str, int]:
    """How much more the gate takes each pool to have left than the ledger does, of those of which
    it knows every row as it stands."""
    behind = {
        one.pool for one in pools if look.versions.get((one.pool, one.slice_no)) != one.version
    }
    return {
        pool: look.left_fen[pool] - fen
        for pool, fen in pools_left(pools).items()
        if pool not in behind
    }


class Gate:
    """The gate of one jurisdiction. All its keys share a hash tag, so it runs on a cluster."""

    def __init__(self, redis_url: str, jurisdiction: str, pools: Sequence[str]) -> None:
        self._prefix = f"butie:{{{jurisdiction}}}:"
        self._pools = sorted(pools)
        self._fixed_keys = [
            self._prefix + name
            for name in ("admissions", "memory", *(f"pool:{pool}" for pool in self._pools))
        ]
        self._away = False
        # Admissions that Redis may hold for nothing: it was asked to make or to end them, and
        # did not answer. What does not fit here ends by its deadline.
        self._owed: deque[UUID] = deque(maxlen=OWED_MAX)
        pool = redis.ConnectionPool.from_url(
            redis_url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # A command that is sent twice may count twice: the path decides what to repeat.
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._greet,
        )
        pool.connection_class = _packing_in_c(pool.connection_class)
        self._client = redis.Redis.from_pool(pool)
        self._admit = self._client.register_script((_HERE / "admit.lua").read_text())
        self._settle = self._client.register_script((_HERE / "settle.lua").read_text())
        self._forget = self._client.register_script((_HERE / "forget.lua").read_text())
        self._look = self._client.register_script((_HERE / "look.lua").read_text())
        self._times = {
            self._admit: metrics.gate_seconds.labels("admit"),
            self._settle: metrics.gate_seconds.labels("settle"),
            self._forget: metrics.gate_seconds.labels("forget"),
            self._look: metrics.gate_seconds.labels("look"),
        }

    async def close(self) -> None:
        await self._client.aclose()

    @property
    def away(self) -> bool:
        """Whether the last call failed, and the sweeper has not got through since."""
        return self._away

    async def admit(self, batch: Sequence[Candidate]) -> list[Admission]:
        """Admit each claim of the batch wholly or not at all, in one call."""
        keys = Keys(self._prefix, self._fixed_keys)
        order = {
            "pools": self._pools,
            "ttl_s": MEMORY_S,
            "until_ms": int((time.time() + ADMISSION_S) * 1000),
            "claims": [to_admit(one.claim, one.age_ms, keys) for one in batch],
        }
        try:
            answer = await self._call(self._admit, keys.names, order)
        except GateAway:
            self._owed.extend(one.claim.claim_id for one in batch)
            raise
        words = [word.decode() for word in answer[: len(batch)]]
        left_fen = dict(zip(self._pools, map(int, answer[len(batch) + 1 :]), strict=True))
        return [_admission(word, left_fen) for word in words]

    async def settle(
        self,
        views: Iterable[PoolState] = (),
        *,
        done: Iterable[UUID] = (),
        undone: Iterable[PendingClaim] = (),
        freed: Iterable[Footprint] = (),
    ) -> int:
        """Take over the ledger's view of the pools and end admissions; harmless to repeat.

        `done` were committed; `undone` came to nothing, and what they put down is forgotten;
        `freed` gave serials and rights back. Returns how many admissions were dropped.
        """
        keys = Keys(self._prefix, self._fixed_keys)
        undone = list(undone)
        undo = [to_undo(one.footprint(), keys, key_name(one)) for one in undone]
        undo += [to_undo(one, keys) for one in freed]
        order = self._order([(view, -1) for view in views])
        ended = [*done, *(one.claim_id for one in undone)]
        order["done"] = ended
        order["undo"] = undo
        try:
            return int(await self._call(self._settle, keys.names, order))
        except GateAway:
            self._owed.extend(ended)
            raise

    async def forget(self, claim: PendingClaim, found: Seen | Taken) -> None:
        """Forget what is remembered of the claim's key, serials and rights, but not what is in
        flight: the ledger, asked after this was `found`, knows of none of it."""
        keys = Keys(self._prefix, self._fixed_keys[:1])
        to_undo(claim.footprint(), keys, key_name(claim))
        holder = found.claim_id if isinstance(found, Seen) else ""
        await self._call(self._forget, keys.names, {"holder": holder})

    async def in_flight(self, retailer_id: str, idempotency_key: str) -> bool:
        """Whether a claim of this key has been admitted and not yet settled."""
        if self._away:
            raise GateAway
        name = f"{self._prefix}key:{retailer_id}:{idempotency_key}"
        with _tells_away():
            holder: Any = await self._client.get(name)
            flies: Any = holder and await self._client.hexists(self._fixed_keys[0], holder)
            return bool(flies)

    # --- the sweeper's ------------------------------------------------------------------

    async def look(self, now_s: float) -> Look:
        """What the gate has. `now_s`: real Unix seconds. Asked even of a gate that was away."""
        order = {
            "pools": self._pools,
            "now_ms": int(now_s * 1000),
            "overdue_max": OVERDUE_MAX,
        }
        answer = await self._call(self._look, self._fixed_keys, order, probe=True)
        known, in_flight, overdue_count, *overdue = answer
        pools = json.loads(known)
        return Look(
            versions={
                (pool, int(part)): int(version)
                for pool, told in pools.items()
                for part, version in told["versions"].items()
            },
            left_fen={pool: int(told["left"]) for pool, told in pools.items()},
            in_flight=int(in_flight),
            overdue_count=int(overdue_count),
            overdue=[_attempt(overdue[n], overdue[n + 1]) for n in range(0, len(overdue), 2)],
        )

    async def follow(self, views: Sequence[PoolState], seen: dict[tuple[str, int], int]) -> None:
        """Take over the ledger's view, read after the gate was seen at the versions `seen`.

        A version below the one seen can only mean that the ledger was restored, as can a part
        that the ledger does not have. Admissions whose end Redis has not heard of end now, and the
        gate is in service again.
        """
        told = {(view.pool, view.slice_no) for view in views}
        gone = [PoolState(*row, 0, 0, 0, 0) for row in seen if row[1] and row not in told]
        instead = [
            (
                view,
                before
                if (before := seen.get((view.pool, view.slice_no), -1)) > view.version
                else -1,
            )
            for view in [*views, *gone]
        ]
        order = self._order(instead)
        owed = list(self._owed)
        order["done"] = owed
        await self._call(self._settle, self._fixed_keys, order, probe=True)
        for _ in owed:
            self._owed.popleft()
        self._away = False

    async def ping(self) -> None:
        """Raises GateAway when Redis does not answer."""
        with _tells_away():
            await self._client.ping()

    # ------------------------------------------------------------------------------------

    def _order(self, views: Iterable[tuple[PoolState, int]]) -> dict[str, object]:
        return {
            "pools": self._pools,
            "views": [
                [
                    v.pool,
                    v.slice_no,
                    v.allocated_fen,
                    v.spent_fen,
                    v.version,
                    v.bypasses,
                    instead_of,
                ]
                for v, instead_of in views
            ],
            "done": [],
            "undo": [],
        }

    async def _call(
        self, script: AsyncScript, keys: list[str], order: object, *, probe: bool = False
    ) -> Any:
        """What the script says to this order, which it gets as JSON."""
        if self._away and not probe:
            raise GateAway
        try:
            with _tells_away(), self._times[script].time():
                return await script(keys=keys, args=[to_json(order)])
        except GateAway:
            self._away = True
            # Others of before are dead like this one, and each would be found so in its turn.
            with suppress(RedisError, OSError, TimeoutError):
                await self._client.connection_pool.disconnect(inuse_connections=False)
            raise

    async def _greet(self, connection: Any) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        run = _RUN_ID.search(await connection.read_response())
        assert run is not None, "Bug! Every server has a run id."
        greet = (_HERE / "greet.lua").read_text()
        await connection.send_command("EVAL", greet, 1, self._fixed_keys[1], run[1])
        await connection.read_response()


def _packing_in_c(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """The same connection, but commands are packed by hiredis, which redis-py leaves to its
    synchronous client. Some hundred keys a call in Python cost a hundredth of the claim path."""

    class Packing(kind):  # type: ignore[valid-type, misc]
        def pack_command(self, *args: Any) -> list[bytes]:
            words = args[0].split()  # "SCRIPT LOAD" is two
            return [hiredis.pack_command((*words, *args[1:]))]

    return Packing


@contextmanager
def _tells_away() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise GateAway from error


def _attempt(claim_id: bytes, record: bytes) -> Attempt:
    told = json.loads(record)
    return Attempt(told["retailer"], told["key"], UUID(claim_id.decode()))


def _admission(answer: str, left_fen: dict[str, int]) -> Admission:
    word, _, holder = answer.partition(" ")
    match word:
        case "admitted":
            return Admitted()
        case "seen":
            return Seen(holder)
        case "taken":
            return Taken()
        case "short" | "doubtful":
            return Short(left_fen, sure=word == "short")
        case "contested":
            return Contested()
        case "unknown":
            return Unknown()
    raise AssertionError(f"Bug! The gate answered {answer}.")
