"""Enrolling: retailers, their stores, and keys. Each in the caller's transaction."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum.cn import uscc
from stdnum.exceptions import ValidationError as InvalidNumber

from service.db.tables import api_key, retailer, store
from service.retailers.keys import ROLES, NewKey, new_key


class NotEnrolled(Exception):
    """What was asked cannot be enrolled; the text says why."""


async def add_retailer(
    connection: AsyncConnection,
    jurisdiction: str,
    *,
    retailer_id: str,
    uscc_number: str,
    name: str,
    now: datetime,
) -> None:
    """Enrol a retailer. Raises NotEnrolled when the USCC (GB 32100) has a wrong check digit."""
    try:
        number = uscc.validate(uscc_number)
    except InvalidNumber:
        raise NotEnrolled("the USCC is not valid: 18 characters with a check digit") from None
    await connection.execute(
        sa.insert(retailer).values(
            jurisdiction=jurisdiction,
            retailer_id=retailer_id,
            uscc=number,
            name=name,
            state="active",
            created_at=now,
        )
    )


async def add_store(
    connection: AsyncConnection,
    jurisdiction: str,
    *,
    store_id: str,
    retailer_id: str,
    name: str,
    town: str | None,
    now: datetime,
) -> None:
    """Enrol a store of an enrolled retailer."""
    await connection.execute(
        sa.insert(store).values(
            jurisdiction=jurisdiction,
            store_id=store_id,
            retailer_id=retailer_id,
            name=name,
            town=town,
            state="active",
            created_at=now,
        )
    )


async def create_key(
    connection: AsyncConnection,
    jurisdiction: str,
    *,
    role: str,
    retailer_id: str | None,
    label: str,
    now: datetime,
) -> NewKey:
    """Make a key of this role. Its secret is in the answer, and nowhere else."""
    key = new_key()
    await connection.execute(
        sa.insert(api_key).values(
            jurisdiction=jurisdiction,
            key_id=key.key_id,
            retailer_id=retailer_id,
            label=label,
            scopes=list(ROLES[role]),
            secret_sha256=key.secret_sha256,
            created_at=now,
        )
    )
    return key
