"""Control totals of a selection: what an export of it must come to."""

import hashlib
from dataclasses import dataclass

import asyncpg

from service.finance.journal.columns import COLUMNS
from service.finance.journal.export import copy_csv
from service.finance.journal.selection import Selection


@dataclass(frozen=True, slots=True)
class Subtotal:
    """The entries that share a kind, pool or retailer (null: of no retailer)."""

    name: str | None
    rows: int
    sum_fen: int


@dataclass(frozen=True, slots=True)
class FundingTotals:
    """Who bears it; an allocation has no shares."""

    centre_fen: int
    province_fen: int
    city_fen: int
    district_fen: int


@dataclass(frozen=True, slots=True)
class Totals:
    """`until_entry` with the same filters selects the same entries for ever; `sha256` is that of
    the plain CSV file with exactly these entries."""

    rows: int
    sum_fen: int
    until_entry: int
    by_kind: list[Subtotal]
    by_pool: list[Subtotal]
    by_retailer: list[Subtotal]
    funding: FundingTotals
    sha256: str


async def read_totals(connection: asyncpg.Connection, selection: Selection) -> Totals:
    """In the caller's transaction, which has one snapshot for all of it."""
    where, arguments = selection.where()
    parts = {
        name: [
            Subtotal(*row)
            for row in await connection.fetch(
                f"SELECT {name}, count(*), sum(amount_fen)::bigint FROM journal"  # noqa: S608
                f" WHERE {where} GROUP BY 1 ORDER BY 1",
                *arguments,
            )
        ]
        for name in ("kind", "pool", "retailer_id")
    }
    shares = ", ".join(
        f"coalesce(sum({who}_fen), 0)::bigint" for who in ("centre", "province", "city", "district")
    )
    funding = await connection.fetchrow(
        f"SELECT {shares} FROM journal_funded WHERE {where}",  # noqa: S608
        *arguments,
    )
    assert selection.until is not None, "Bug! Take the snapshot first."
    return Totals(
        rows=sum(part.rows for part in parts["kind"]),
        sum_fen=sum(part.sum_fen for part in parts["kind"]),
        until_entry=selection.until,
        by_kind=parts["kind"],
        by_pool=parts["pool"],
        by_retailer=parts["retailer_id"],
        funding=FundingTotals(*funding),
        sha256=await _digest(connection, selection),
    )


async def _digest(connection: asyncpg.Connection, selection: Selection) -> str:
    digest = hashlib.sha256()

    async def take(chunk: bytes) -> None:
        digest.update(chunk)

    await copy_csv(connection, selection, COLUMNS, take)
    return digest.hexdigest()
