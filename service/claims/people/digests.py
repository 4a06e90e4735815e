"""Keyed digests of personal data. The ledger holds no ID number.

An ID number has so few unknown digits that a plain hash of it can be found by trying them all. A
keyed digest (HMAC-SHA256) cannot: the database alone gives away only the last four characters.

The keys have generations. The first key digests the data. A later key wraps: it digests the digest
of the key before it, since the ledger does not have the data to digest again. So every key is
needed for ever, and a former key alone is of no use to an attacker. A digest of generation n >= 2
begins with the byte n; one of the first generation has no such byte. Migration 0015 has the same
form as SQL functions.

While a key is replaced (`rotating`), quotas are booked under the digests of the last two
generations; see `rotation.py`.
"""

import hashlib
import hmac
from collections.abc import Sequence
from uuid import UUID

from service.core.checkout import Checkout, Consumer
from service.core.identifiers import serial_spellings

# How many characters of a travel permit's number stay with the person for life. The rest counts
# how often the permit was issued: a renewed permit brings no new quota.
LIFELONG_CHARS = {"hk_macao_permit": 9, "taiwan_permit": 8}

SUBJECT_BYTES = 16  # 65 million people: a chance below 10^-22 that any two collide
FINGERPRINT_BYTES = 32


class Digester:
    """Digests with the operator's keys (`BUTIE_PII_KEYS_FORMER`, `BUTIE_PII_KEY`), oldest first."""

    def __init__(self, *keys: str, rotating: bool = False) -> None:
        self._keys = [key.encode() for key in keys]
        # A copy takes half the time of a new HMAC with the same key.
        self._macs = [hmac.new(key, digestmod="sha256") for key in self._keys]
        self.generation = len(keys)
        self.rotating = rotating and len(keys) > 1
        # The generations that quotas are booked under; the first one counts every claim.
        self._booked = (len(keys) - 1, len(keys)) if self.rotating else (len(keys),)

    def person(self, consumer: Consumer) -> tuple[bytes, ...]:
        """The person's digests that quotas are booked under. The first one counts every claim; the
        last one is the newest key's."""
        return self._subjects("person", _lifelong(consumer))

    def every_person(self, consumer: Consumer) -> tuple[bytes, ...]:
        """The person's digests by each key, oldest first. A claim has one of them: while a key is
        replaced, some claims have the former key's."""
        return tuple(
            self._digest("person", _lifelong(consumer), generation, SUBJECT_BYTES)
            for generation in range(1, self.generation + 1)
        )

    def vehicle(self, serial_no: str) -> tuple[bytes, ...]:
        """The same for an old vehicle. One whose number is not typed as it folds has the digests of
        both spellings: former claims are booked under the one that was typed."""
        spellings = serial_spellings(serial_no)
        return tuple(
            digest for spelling in spellings for digest in self._subjects("vehicle", spelling)
        )

    def fingerprint(self, checkout: Checkout) -> bytes:
        """The digest of the whole body. It is keyed because the body holds the ID number."""
        # During a rotation, also workers without the newest key must recognise it.
        return self._fingerprint(checkout, self._booked[0])

    def matches(self, checkout: Checkout, fingerprint: bytes) -> bool:
        """Whether the fingerprint was made of this body, with any of the keys."""
        generation = generation_of(fingerprint)
        return (
            generation <= self.generation and self._fingerprint(checkout, generation) == fingerprint
        )

    def refund(self, claim_id: UUID, lines: Sequence[int], reason: str) -> bytes:
        """The fingerprint of a refund's request. It holds no personal data, so it stays with the
        first key."""
        value = f"{claim_id}|{sorted(lines)}|{reason}"
        return self._digest("refund", value, 1, FINGERPRINT_BYTES)

    def check(self, generation: int) -> bytes:
        """A value by which the ledger recognises the keys up to this generation."""
        return self._digest("check", "", generation, SUBJECT_BYTES)

    def pads(self) -> tuple[bytes, bytes]:
        """The newest key's HMAC blocks (inner, outer), for the SQL function `wrapped_digest`."""
        block = hashlib.sha256().block_size
        key = self._keys[-1]
        key = (hashlib.sha256(key).digest() if len(key) > block else key).ljust(block, b"\0")
        return bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)

    def _subjects(self, kind: str, value: str) -> tuple[bytes, ...]:
        return tuple(
            self._digest(kind, value, generation, SUBJECT_BYTES) for generation in self._booked
        )

    def _fingerprint(self, checkout: Checkout, generation: int) -> bytes:
        value = checkout.model_dump_json()
        return self._digest("checkout", value, generation, FINGERPRINT_BYTES)

    def _digest(self, kind: str, value: str, generation: int, size: int) -> bytes:
        first, *later = self._macs[:generation]
        digest = _mac(first, f"{kind}|{value}".encode())[:size]
        for number, mac in enumerate(later, start=2):
            digest = bytes([number]) + _mac(mac, digest)[:size]
        return digest


def _lifelong(consumer: Consumer) -> str:
    """What of the document stays with the person for life."""
    return f"{consumer.id_type}|{consumer.id_number[: LIFELONG_CHARS.get(consumer.id_type)]}"


def _mac(keyed: hmac.HMAC, message: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(message)
    return mac.digest()


def generation_of(digest: bytes) -> int:
    """The number of the key that made it, counted from 1."""
    return 1 if len(digest) in (SUBJECT_BYTES, FINGERPRINT_BYTES) else digest[0]
