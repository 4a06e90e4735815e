"""What persons and old vehicles have used of their quotas, for tens of millions of them.

A dictionary takes 150 bytes an entry. This table takes 10 for each of its slots: the key's 64-bit
hash and the count. Subjects are keyed digests, so two of ten million keys share a hash with a
chance of 3 in a million. The replay is a forecast, and the ledger itself counts by whole digests.
"""

from array import array
from collections.abc import Iterator, MutableMapping
from hashlib import blake2b

from service.claims.claim import QuotaKey

FULL_PERCENT = 80
GROWTH_PERCENT = 150
# The largest count in two bytes. Money takes eight.
_SMALL_MAX = 65_535


def hash_of(text: str) -> int:
    """The same 64 bits in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


class QuotaCounts(MutableMapping[QuotaKey, int]):
    """Counts by key; what was never set is 0. `slots`: about 1.3 for each key that will come."""

    def __init__(self, slots: int) -> None:
        self._small = _Table(max(slots, 1024), "H")
        self._large = _Table(1024, "Q")
        self._salts: dict[tuple[str, str], int] = {}

    def get(self, key: QuotaKey, default: int = 0) -> int:  # type: ignore[override]
        # Most keys are new, and then only the small table is asked.
        hashed = self._hash(key)
        count = self._small.get(hashed)
        return self._large.get(hashed) if count == _SMALL_MAX else count

    __getitem__ = get

    def __setitem__(self, key: QuotaKey, count: int) -> None:
        hashed = self._hash(key)
        self._small.set(hashed, min(count, _SMALL_MAX))
        if count >= _SMALL_MAX:
            self._large.set(hashed, count)

    def __len__(self) -> int:
        return self._small.used

    def __delitem__(self, key: QuotaKey) -> None:
        raise NotImplementedError

    def __iter__(self) -> Iterator[QuotaKey]:
        raise NotImplementedError

    @property
    def size_bytes(self) -> int:
        return self._small.size_bytes + self._large.size_bytes

    def _hash(self, key: QuotaKey) -> int:
        subject, quota, period = key
        salt = self._salts.get((quota, period))
        if salt is None:
            salt = self._salts[quota, period] = hash_of(f"{quota}|{period}")
        return (int.from_bytes(subject[-8:]) ^ salt) or 1  # 0 is an empty slot


class _Table:
    """Open addressing: a key is in the first free slot from its own on. Keys are never removed."""

    def __init__(self, slots: int, kind: str) -> None:
        self._kind = kind
        self._keys, self._counts = _zeros("Q", slots), _zeros(kind, slots)
        self._slots = slots
        self.used = 0

    @property
    def size_bytes(self) -> int:
        return self._slots * (self._keys.itemsize + self._counts.itemsize)

    def get(self, key: int) -> int:
        keys, at = self._keys, key % self._slots
        while (known := keys[at]) != key:
            if known == 0:
                return 0
            at += 1
            if at == self._slots:
                at = 0
        return self._counts[at]

    def set(self, key: int, count: int) -> None:
        keys, at = self._keys, key % self._slots
        while (known := keys[at]) != key:
            if known == 0:
                keys[at] = key
                self.used += 1
                break
            at += 1
            if at == self._slots:
                at = 0
        self._counts[at] = count
        if self.used * 100 > self._slots * FULL_PERCENT:
            self._grow()

    def _grow(self) -> None:
        larger = _Table(self._slots * GROWTH_PERCENT // 100, self._kind)
        for key, count in zip(self._keys, self._counts, strict=True):
            if key:
                larger.set(key, count)
        self._keys, self._counts, self._slots = larger._keys, larger._counts, larger._slots


def _zeros(kind: str, slots: int) -> "array[int]":
    return array(kind, [0]) * slots
