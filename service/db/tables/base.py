"""Column types and column makers of the tables."""

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()

InstantType = sa.DateTime(timezone=True)
FenType = sa.BigInteger


def column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


def key(name: str, kind: Any = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True)
