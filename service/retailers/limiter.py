"""Rate limits: a token bucket for each key, in Redis, shared by all workers.

Only valid keys have a bucket, so unknown callers cost nothing here.
"""

import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service import metrics
from service.batcher import MicroBatcher

TAKE_TIMEOUT_S = 0.25
# After a failure Redis is not asked for this long, so that requests do not wait for it again.
SHUNNED_S = 1.0
TAKES_PER_CALL_MAX = 512
TAKES_QUEUED_MAX = 8192

_TAKE = (Path(__file__).parent / "take.lua").read_text()

RateHeaders = tuple[tuple[bytes, bytes], ...]


class TooMany(Exception):
    """The key's bucket is empty."""

    def __init__(self, retry_after_s: int, headers: RateHeaders) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s
        self.headers = headers


class Limiter:
    """Concurrent requests share one call to Redis. Without a limit set there is no Limiter."""

    def __init__(self, redis_url: str, jurisdiction: str, *, per_s: int, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._prefix = f"butie:{{{jurisdiction}}}:rate:"
        self._shunned_until = 0.0
        self._client = redis.from_url(
            redis_url,
            socket_timeout=TAKE_TIMEOUT_S,
            socket_connect_timeout=TAKE_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._take = self._client.register_script(_TAKE)
        self._calls = MicroBatcher[str, tuple[bool, int] | None](
            self._ask, batch_max=TAKES_PER_CALL_MAX, queue_max=TAKES_QUEUED_MAX
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def take(self, key_id: str) -> RateHeaders:
        """Take a token; returns the response's RateLimit headers. While Redis is away every request
        passes, and a metric counts it: a lost limit must not close the tills. Raises TooMany."""
        answer = await self._calls.submit(key_id)
        if answer is None:
            metrics.rate_uncounted.inc()
            return ()
        may_go, left_milli = answer
        headers = self._headers(left_milli)
        if not may_go:
            metrics.rate_limited.inc()
            raise TooMany(math.ceil((1000 - left_milli) / 1000 / self._per_s), headers)
        return headers

    def _headers(self, left_milli: int) -> RateHeaders:
        """The quota of a window, what is left of it, and the seconds until it is full
        (draft-ietf-httpapi-ratelimit-headers-10)."""
        window_s = math.ceil(self._burst / self._per_s)
        full_s = math.ceil((self._burst * 1000 - left_milli) / 1000 / self._per_s)
        policy = f'"key";q={self._burst};w={window_s}'
        left = f'"key";r={left_milli // 1000};t={full_s}'
        return ((b"ratelimit-policy", policy.encode()), (b"ratelimit", left.encode()))

    async def _ask(self, batch: Sequence[str]) -> list[tuple[bool, int] | None]:
        if time.monotonic() < self._shunned_until:
            return [None] * len(batch)
        requests = Counter(batch)
        try:
            answer = await self._take(
                keys=[self._prefix + key_id for key_id in requests],
                args=[self._per_s, self._burst, *requests.values()],
            )
        except (RedisError, OSError, TimeoutError):
            self._shunned_until = time.monotonic() + SHUNNED_S
            return [None] * len(batch)
        buckets = {
            key_id: [int(answer[2 * n]), int(answer[2 * n + 1])]
            for n, key_id in enumerate(requests)
        }
        return [_next_token(buckets[key_id]) for key_id in batch]


def _next_token(bucket: list[int]) -> tuple[bool, int]:
    """(whether the next request of the key may go, thousandths left), in order of arrival.
    `bucket` is [requests that may go, thousandths left]."""
    may_go, left_milli = bucket[0] > 0, bucket[1]
    bucket[0] -= 1
    return may_go, left_milli
