"""Control totals of a selection: the count, sums and digest that its export must have."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import asyncpg
from pydantic import Field

from service.core.checkout import is_absent
from service.finance.journal.columns import EXPORT_COLUMNS
from service.finance.journal.export import copy_csv
from service.finance.journal.sales import with_sales
from service.finance.journal.selection import Selection

TotalsBy = Literal["day", "category", "town"]
# SQL of the name of each group. A town is the store's, as it is enrolled now.
GROUPS = {
    "kind": "kind",
    "pool": "pool",
    "retailer": "retailer_id",
    "day": "booked_on::text",
    "category": "category",
}


@dataclass(frozen=True, slots=True)
class Subtotal:
    """The entries with one kind, pool, retailer, day, category or town. `name` null: entries
    without one. `sales_fen`, if asked for: what their lines were sold for, less refunds."""

    name: str | None
    rows: int
    sum_fen: int
    sales_fen: Annotated[int | None, Field(exclude_if=is_absent)] = None


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
    sales_fen: Annotated[int | None, Field(exclude_if=is_absent)] = None
    by_day: Annotated[list[Subtotal] | None, Field(exclude_if=is_absent)] = None
    by_category: Annotated[list[Subtotal] | None, Field(exclude_if=is_absent)] = None
    by_town: Annotated[list[Subtotal] | None, Field(exclude_if=is_absent)] = None


async def read_totals(
    connection: asyncpg.Connection,
    selection: Selection,
    *,
    sales: bool = False,
    by: TotalsBy | None = None,
) -> Totals:
    """Read the totals in the caller's transaction, which must have one snapshot. `sales` adds what
    the lines were sold for, `by` one more grouping. Raises asyncpg's errors."""
    where, arguments = selection.where()
    kinds = await _subtotals(connection, selection, "kind", sales=sales)
    more = {} if by is None else {by: await _subtotals(connection, selection, by, sales=sales)}
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
        rows=sum(subtotal.rows for subtotal in kinds),
        sum_fen=sum(subtotal.sum_fen for subtotal in kinds),
        until_entry=selection.until,
        by_kind=kinds,
        by_pool=await _subtotals(connection, selection, "pool", sales=sales),
        by_retailer=await _subtotals(connection, selection, "retailer", sales=sales),
        funding=FundingTotals(*funding),
        sha256=await _digest(connection, selection),
        sales_fen=sum(subtotal.sales_fen or 0 for subtotal in kinds) if sales else None,
        by_day=more.get("day"),
        by_category=more.get("category"),
        by_town=more.get("town"),
    )


async def _subtotals(
    connection: asyncpg.Connection, selection: Selection, by: str, *, sales: bool
) -> list[Subtotal]:
    where, arguments = selection.where()
    source = with_sales("journal") if sales else "journal"
    sold = ", coalesce(sum(sales_fen), 0)::bigint" if sales else ""
    sums = f"count(*), sum(amount_fen)::bigint{sold}"
    if by != "town":
        query = f"SELECT {GROUPS[by]}, {sums} FROM {source} WHERE {where} GROUP BY 1 ORDER BY 1"  # noqa: S608
    else:  # first by store, so that each store is looked up once
        query = f"""
            SELECT nullif(t.town, ''), sum(rows)::bigint, sum(fen)::bigint, sum(sold_fen)::bigint
            FROM (
                SELECT jurisdiction, store_id, count(*) AS rows, sum(amount_fen) AS fen,
                    {"coalesce(sum(sales_fen), 0)" if sales else "NULL::bigint"} AS sold_fen
                FROM {source} WHERE {where} GROUP BY 1, 2
            ) AS s LEFT JOIN store AS t USING (jurisdiction, store_id)
            GROUP BY 1 ORDER BY 1
        """  # noqa: S608
    return [Subtotal(*row) for row in await connection.fetch(query, *arguments)]


async def _digest(connection: asyncpg.Connection, selection: Selection) -> str:
    digest = hashlib.sha256()

    async def take(chunk: bytes) -> None:
        digest.update(chunk)

    await copy_csv(connection, selection, EXPORT_COLUMNS, take)
    return digest.hexdigest()
