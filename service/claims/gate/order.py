"""What the gate's scripts are asked, in their own terms: names as indexes of the call's keys."""

from service.claims.claim import Footprint, PendingClaim


class Keys:
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


def key_name(claim: PendingClaim) -> str:
    """Under which the gate remembers the claim's idempotency key."""
    return f"key:{claim.seller.retailer_id}:{claim.idempotency_key}"


def to_admit(claim: PendingClaim, age_ms: int, keys: Keys) -> dict[str, object]:
    """One of admit.lua's `claims`. `age_ms`: as a Candidate has it."""
    claim_id = str(claim.claim_id)
    return {
        "id": claim_id,
        "seen": keys.at(key_name(claim)),
        "retailer": claim.seller.retailer_id,
        "key": claim.idempotency_key,
        "serials": [keys.at(f"serial:{one}") for line in claim.lines for one in line.serials],
        "rights": [
            # Each line's use of a right is a field of its own.
            (
                keys.at(_right_name(right.key)),
                f"{claim_id}:{line.line_no}",
                right.amount,
                right.limit,
            )
            for line in claim.lines
            for right in line.rights
        ],
        "fen": claim.fen_by_pool(),
        "age_ms": age_ms,
    }


def _right_name(right: tuple[bytes, str, str]) -> str:
    subject, quota, period = right
    return f"right:{subject.hex()}:{quota}:{period}"


def to_undo(footprint: Footprint, keys: Keys, *more: str) -> list[object]:
    """One of settle.lua's `undo`: what the claim put down, and `more` names that it may hold."""
    claim_id = str(footprint.claim_id)
    return [
        claim_id,
        [*map(keys.at, more), *(keys.at(f"serial:{one}") for one in footprint.serials)],
        [
            [keys.at(_right_name(right)), f"{claim_id}:{line_no}"]
            for line_no, right in footprint.rights
        ],
    ]
