"""API keys: opaque and random, shown once, stored as a hash.

A key has 256 random bits, so a fast hash is enough: there is nothing to guess.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal

Scope = Literal["claims", "claims:read", "budgets:read", "finance", "admin"]

# The scopes of each role's key. The authorities' keys belong to no retailer. A key keeps the scopes
# that it was made with, and so does its replacement: one from before `claims:read` has none.
ROLES: dict[str, tuple[Scope, ...]] = {
    "pos": ("claims",),
    "finance": ("finance", "budgets:read", "claims:read"),
    "bureau": ("budgets:read", "claims:read"),
    "admin": ("admin", "budgets:read"),
}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. Only this object and the key's owner have the secret."""

    key_id: str
    secret: str

    @property
    def secret_sha256(self) -> bytes:
        return hash_secret(self.secret)


def new_key() -> NewKey:
    """The prefix lets a scanner find a key that leaked into a repository or a log."""
    return NewKey(f"key_{secrets.token_hex(8)}", f"butie_{secrets.token_urlsafe(32)}")


def hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
