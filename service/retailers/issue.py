"""Makes, rotates and revokes keys. Each act is in the caller's transaction, with its record."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from service.db.acts import ActContext
from service.db.tables import api_key
from service.retailers.enrol import NotEnrolled
from service.retailers.keys import ROLES, NewKey, new_key


async def create_key(
    context: ActContext, *, role: str, retailer_id: str | None, label: str
) -> NewKey:
    """Make a key of this role. Only the returned key has its secret. Raises NotEnrolled for an
    unknown retailer, or when the role and the retailer do not fit."""
    if (role == "pos") != (retailer_id is not None):
        raise NotEnrolled(
            "role_and_retailer", "A pos key belongs to a retailer, the others to none."
        )
    return await _insert(context, "key.create", list(ROLES[role]), retailer_id, label)


async def rotate_key(context: ActContext, key_id: str, overlap: timedelta) -> NewKey | None:
    """Make a new key with the same scopes. The old one stays valid for `overlap`. None when there
    is no such key. Raises NotEnrolled when the old one has ended."""
    old = await _locked(context, key_id)
    if old is None:
        return None
    if old.revoked_at is not None or (old.expires_at and old.expires_at <= context.now):
        raise NotEnrolled("key_ended", f"{key_id} has ended: create another.")
    key = await _insert(context, "key.create", old.scopes, old.retailer_id, old.label)
    ends_at = min(context.now + overlap, old.expires_at or context.now + overlap)
    await context.connection.execute(
        sa.update(api_key).where(_this(context, key_id)).values(expires_at=ends_at)
    )
    await context.record(
        "key.rotate",
        "key",
        key_id,
        before={"expires_at": _text(old.expires_at)},
        after={"expires_at": _text(ends_at), "replaced_by": key.key_id},
    )
    return key


async def revoke_key(context: ActContext, key_id: str, reason: str) -> bool:
    """End a key at once; a repeat changes nothing. False when there is no such key."""
    old = await _locked(context, key_id)
    if old is None:
        return False
    if old.revoked_at is None:
        await context.connection.execute(
            sa.update(api_key).where(_this(context, key_id)).values(revoked_at=context.now)
        )
        await context.record(
            "key.revoke",
            "key",
            key_id,
            before={"revoked_at": None},
            after={"revoked_at": _text(context.now), "reason": reason},
        )
    return True


async def _insert(
    context: ActContext, act: str, scopes: list[str], retailer_id: str | None, label: str
) -> NewKey:
    key = new_key()
    shown = {"retailer_id": retailer_id, "label": label, "scopes": scopes}
    try:
        async with context.connection.begin_nested():
            await context.connection.execute(
                sa.insert(api_key).values(
                    jurisdiction=context.jurisdiction,
                    key_id=key.key_id,
                    secret_sha256=key.secret_sha256,
                    created_at=context.now,
                    **shown,
                )
            )
    except IntegrityError:
        raise NotEnrolled("unknown_retailer", f"No retailer {retailer_id} is enrolled.") from None
    await context.record(act, "key", key.key_id, after=shown)
    return key


async def _locked(context: ActContext, key_id: str) -> sa.Row[Any] | None:
    query = sa.select(api_key).where(_this(context, key_id)).with_for_update()
    return (await context.connection.execute(query)).one_or_none()


def _this(context: ActContext, key_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(api_key.c.jurisdiction == context.jurisdiction, api_key.c.key_id == key_id)


def _text(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
