"""What the tables are made of."""

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()

Instant = sa.DateTime(timezone=True)
Fen = sa.BigInteger


def column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


def key(name: str, kind: Any = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True)
