"""Control totals of a selection: the count, sums and digest that its export must have."""

import hashlib
from dataclasses import dataclass

import asyncpg

from service.finance.journal.columns import EXPORT_COLUMNS
from service.finance.journal.export import copy_csv
from service.finance.journal.selection import Selection


@dataclass(frozen=True, slots=True)
class Subtotal:
    """The entries with one kind, pool or retailer. `name` null: entries without a retailer."""

    name: str | None
    rows: int
    sum_fen: int


@dataclass(frozen=True, slots=True)
class FundingTotals:
    """The sums by funding level, in fen. Allocations have no shares."""

    centre_fen: int
    province_fen: int
    city_fen: int
    district_fen: int


@dataclass(frozen=True, slots=True)
class Totals:
    """`until_entry` with the same filters always selects the same entries. `sha256` is the digest
    of the plain CSV file of these entries."""

    rows: int
    sum_fen: int
    until_entry: int
    by_kind: list[Subtotal]
    by_pool: list[Subtotal]
    by_retailer: list[Subtotal]
    funding: FundingTotals
    sha256: str


async def read_totals(connection: asyncpg.Connection, selection: Selection) -> Totals:
    """Read the totals in the caller's transaction, which must have one snapshot. Raises asyncpg's
    errors."""
    where, arguments = selection.where()
    subtotals = {
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
        f"coalesce(sum({level}_fen), 0)::bigint"
        for level in ("centre", "province", "city", "district")
    )
    funding = await connection.fetchrow(
        f"SELECT {shares} FROM journal_funded WHERE {where}",  # noqa: S608
        *arguments,
    )
    assert selection.until is not None, "Bug! Take the snapshot first."
    return Totals(
        rows=sum(subtotal.rows for subtotal in subtotals["kind"]),
        sum_fen=sum(subtotal.sum_fen for subtotal in subtotals["kind"]),
        until_entry=selection.until,
        by_kind=subtotals["kind"],
        by_pool=subtotals["pool"],
        by_retailer=subtotals["retailer_id"],
        funding=FundingTotals(*funding),
        sha256=await _digest(connection, selection),
    )


async def _digest(connection: asyncpg.Connection, selection: Selection) -> str:
    digest = hashlib.sha256()

    async def take(chunk: bytes) -> None:
        digest.update(chunk)

    await copy_csv(connection, selection, EXPORT_COLUMNS, take)
    return digest.hexdigest()
