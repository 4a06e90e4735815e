"""Keyed digests of personal data: the ledger never sees an ID number.

An ID number has so few unknown digits that a plain hash of it can be searched through.
Whoever has the database but not the key learns nothing but the last four characters.
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


class Digester:
    """Digests with the operator's key (`BUTIE_PII_KEY`)."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{kind}|{value}".encode(), hashlib.sha256)

    def person(self, consumer: Consumer) -> bytes:
        lifelong = consumer.id_number[: LIFELONG.get(consumer.id_type)]
        value = f"{consumer.id_type}|{lifelong}"
        return self._digest("person", value)[:SUBJECT_BYTES]

    def vehicle(self, serial_no: str) -> bytes:
        return self._digest("vehicle", serial_no)[:SUBJECT_BYTES]

    def fingerprint(self, checkout: Checkout) -> bytes:
        """Of the whole body; keyed, because the body holds the ID number."""
        return self._digest("checkout", checkout.model_dump_json())

    def refund(self, claim_id: UUID, lines: Sequence[int], reason: str) -> bytes:
        """Of a refund's request."""
        return self._digest("refund", f"{claim_id}|{sorted(lines)}|{reason}")
