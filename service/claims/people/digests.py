"""Keyed digests of personal data: the ledger never sees an ID number.

An ID number has so few unknown digits that a plain hash of it can be searched through.
Whoever has the database but not the keys learns nothing but the last four characters.

A key is replaced by wrapping: what the first key made is digested again with the second, and so
on, since the ledger cannot digest anew what it does not have. So all keys are needed for good,
and whoever got hold of a former one can do nothing with it. While a key is being replaced
(`rotating`) rights are booked under both digests, and the older counts every claim; see
`rotation.py`. A digest of the n-th key begins with the byte n; the first key's has none.
"""

import hashlib
import hmac
from collections.abc import Sequence
from uuid import UUID

from service.core.checkout import Checkout, Consumer

# Of a travel permit's number the end counts how often it was issued: a person who has a new one
# is still the same, and has no new right.
LIFELONG = {"hk_macao_permit": 9, "taiwan_permit": 8}

SUBJECT_BYTES = 16  # 65 million people: a chance below 10^-22 that any two collide
FINGERPRINT_BYTES = 32


class Digester:
    """Digests with the operator's keys (`BUTIE_PII_KEYS_FORMER`, `BUTIE_PII_KEY`), oldest first."""

    def __init__(self, *keys: str, rotating: bool = False) -> None:
        self._keys = [key.encode() for key in keys]
        # Copied for each digest: half the time of setting the key up again.
        self._macs = [hmac.new(key, digestmod="sha256") for key in self._keys]
        self.generation = len(keys)
        self.rotating = rotating and len(keys) > 1
        # The one that counts all claims first.
        self._booked = (len(keys) - 1, len(keys)) if self.rotating else (len(keys),)

    def person(self, consumer: Consumer) -> tuple[bytes, ...]:
        """Under whom a person's rights are booked: the first knows of every claim, the last is
        the newest key's."""
        lifelong = consumer.id_number[: LIFELONG.get(consumer.id_type)]
        return self._subjects("person", f"{consumer.id_type}|{lifelong}")

    def vehicle(self, serial_no: str) -> tuple[bytes, ...]:
        """So, too, for an old vehicle."""
        return self._subjects("vehicle", serial_no)

    def fingerprint(self, checkout: Checkout) -> bytes:
        """Of the whole body; keyed, because the body holds the ID number."""
        # What a worker that does not know the newest key yet can compare with, too.
        return self._fingerprint(checkout, self._booked[0])

    def matches(self, checkout: Checkout, fingerprint: bytes) -> bool:
        """Whether this is the body's, whichever key it was made with."""
        generation = generation_of(fingerprint)
        return (
            generation <= self.generation and self._fingerprint(checkout, generation) == fingerprint
        )

    def refund(self, claim_id: UUID, lines: Sequence[int], reason: str) -> bytes:
        """Of a refund's request, in which there is no person: the first key's for good."""
        value = f"{claim_id}|{sorted(lines)}|{reason}"
        return self._digest("refund", value, 1, FINGERPRINT_BYTES)

    def check(self, generation: int) -> bytes:
        """What tells these keys from others, and no more of them."""
        return self._digest("check", "", generation, SUBJECT_BYTES)

    def pads(self) -> tuple[bytes, bytes]:
        """(inner, outer) blocks of the newest key's HMAC, with which SQL can wrap digests."""
        block = hashlib.sha256().block_size
        key = self._keys[-1]
        key = (hashlib.sha256(key).digest() if len(key) > block else key).ljust(block, b"\0")
        return bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)

    def _subjects(self, kind: str, value: str) -> tuple[bytes, ...]:
        return tuple(self._digest(kind, value, one, SUBJECT_BYTES) for one in self._booked)

    def _fingerprint(self, checkout: Checkout, generation: int) -> bytes:
        value = checkout.model_dump_json()
        return self._digest("checkout", value, generation, FINGERPRINT_BYTES)

    def _digest(self, kind: str, value: str, generation: int, size: int) -> bytes:
        first, *others = self._macs[:generation]
        made = _mac(first, f"{kind}|{value}".encode())[:size]
        for number, mac in enumerate(others, start=2):
            made = bytes([number]) + _mac(mac, made)[:size]
        return made


def _mac(keyed: hmac.HMAC, message: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(message)
    return mac.digest()


def generation_of(digest: bytes) -> int:
    """By which key it was made, counted from 1."""
    return 1 if len(digest) in (SUBJECT_BYTES, FINGERPRINT_BYTES) else digest[0]
