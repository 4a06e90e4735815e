"""What lines give back when they are refunded or their hold ends (`give_back.sql`)."""

from pathlib import Path
from uuid import UUID

import asyncpg

from service.claims.claim import Footprint, QuotaKey

_FOLDER = Path(__file__).parent


def with_give_back(file_name: str) -> str:
    """The statement that begins in this file and ends in `give_back.sql`."""
    return (_FOLDER / file_name).read_text() + (_FOLDER / "give_back.sql").read_text()


def footprints(row: asyncpg.Record) -> list[Footprint]:
    """What each claim gave back, from the arrays in the statement's result. An array is null if
    nothing was given back."""
    serials: dict[UUID, list[str]] = {}
    for claim_id, serial in zip(row["serial_claims"] or (), row["serial_nos"] or (), strict=True):
        serials.setdefault(claim_id, []).append(serial)
    quotas: dict[UUID, list[tuple[int, QuotaKey]]] = {}
    names = ("quota_claims", "quota_lines", "quota_subjects", "quota_names", "quota_periods")
    for claim_id, line_no, *key in zip(*(row[name] or () for name in names), strict=True):
        quotas.setdefault(claim_id, []).append((line_no, (key[0], key[1], key[2])))
    return [
        Footprint(claim_id, tuple(serials.get(claim_id, ())), tuple(quotas.get(claim_id, ())))
        for claim_id in serials.keys() | quotas.keys()
    ]
