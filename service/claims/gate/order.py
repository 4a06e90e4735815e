"""The orders that the gate sends to its Lua scripts. They name Redis keys by index."""

from service.claims.claim import Footprint, PendingClaim, QuotaKey


class GateKeys:
    """The Redis keys of a script call, each once. Lua refers to them by index, from 1."""

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


def key_name(claim: PendingClaim) -> str:
    """The Redis key, without its prefix, under which the claim's idempotency key is remembered."""
    return f"key:{claim.seller.retailer_id}:{claim.idempotency_key}"


def to_admit(claim: PendingClaim, age_ms: int, keys: GateKeys) -> dict[str, object]:
    """One of admit.lua's `claims`. `age_ms`: as in Candidate."""
    claim_id = str(claim.claim_id)
    return {
        "id": claim_id,
        "seen": keys.at(key_name(claim)),
        "retailer": claim.seller.retailer_id,
        "key": claim.idempotency_key,
        "serials": [keys.at(f"serial:{serial}") for line in claim.lines for serial in line.serials],
        "quotas": [
            # Each line has a field of its own in the quota's hash.
            (
                keys.at(_quota_name(quota.key)),
                f"{claim_id}:{line.line_no}",
                quota.amount,
                quota.limit,
            )
            for line in claim.lines
            for quota in line.quotas
        ],
        "fen": claim.fen_by_pool(),
        "age_ms": age_ms,
    }


def _quota_name(key: QuotaKey) -> str:
    subject, quota, period = key
    return f"right:{subject.hex()}:{quota}:{period}"  # the former word for a quota; the name stays


def to_undo(footprint: Footprint, keys: GateKeys, *more: str) -> list[object]:
    """One of settle.lua's `undo`: the claim's serials and quotas, and `more` keys that it may
    hold."""
    claim_id = str(footprint.claim_id)
    return [
        claim_id,
        [*map(keys.at, more), *(keys.at(f"serial:{serial}") for serial in footprint.serials)],
        [
            [keys.at(_quota_name(quota)), f"{claim_id}:{line_no}"]
            for line_no, quota in footprint.quotas
        ],
    ]
