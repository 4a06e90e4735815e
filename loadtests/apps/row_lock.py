"""The textbook way, in one transaction per claim: lock the budget's row, read, insert, update.

It parses and answers the same models, prices with the same policy, and has as many connections as
Butie's claim path. It writes less than Butie (no fingerprint, quotas, lines or shares), which makes
it faster.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

import asyncpg
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from uuid_utils.compat import uuid7

from service.api.bodies import json_body
from service.claims.bundle import CLAIM_CONNECTIONS_MAX
from service.claims.claim import Claim, ClaimLine
from service.core.checkout import Checkout
from service.core.quote import quote
from service.policies import read_book

TABLES = """
CREATE TABLE IF NOT EXISTS budget (pool text PRIMARY KEY, left_fen bigint NOT NULL);
CREATE TABLE IF NOT EXISTS sale (
    claim_id uuid PRIMARY KEY, idempotency_key text UNIQUE, store_id text, order_no text,
    sold_at timestamptz, id_number text, price_fen bigint, subsidy_fen bigint);
CREATE TABLE IF NOT EXISTS sale_item (
    serial_no text PRIMARY KEY, claim_id uuid, line_no smallint, category text, price_fen bigint,
    subsidy_fen bigint);
INSERT INTO budget VALUES ('appliances', 2000000000) ON CONFLICT DO NOTHING
"""

BOOK = read_book("330402", None)


async def make_tables(database_url: str) -> None:
    """Run once, before the workers start."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(TABLES)
    await connection.close()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(
        os.environ["ROW_LOCK_DATABASE_URL"],
        min_size=CLAIM_CONNECTIONS_MAX,
        max_size=CLAIM_CONNECTIONS_MAX,
    ) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/claims", status_code=201)
async def claim(
    request: Request,
    checkout: Annotated[Checkout, Depends(json_body(Checkout))],
    idempotency_key: str = Header(),
) -> Claim:
    priced = quote(BOOK, checkout, checkout.sold_at + timedelta(minutes=1))
    if priced.refused:
        raise HTTPException(409)
    claim_id = uuid7()
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        left_fen = await connection.fetchval(
            "SELECT left_fen FROM budget WHERE pool = 'appliances' FOR UPDATE"
        )
        if left_fen < priced.subsidy_fen:
            raise HTTPException(409)
        await connection.execute(
            "INSERT INTO sale VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            *(claim_id, idempotency_key, checkout.store_id, checkout.order_no, checkout.sold_at),
            *(checkout.consumer.id_number, priced.price_fen, priced.subsidy_fen),
        )
        await connection.executemany(
            "INSERT INTO sale_item VALUES ($1, $2, $3, $4, $5, $6)",
            [
                (
                    item.serial_no,
                    claim_id,
                    item.line_no,
                    item.category,
                    item.price_fen,
                    line.subsidy_fen,
                )
                for item, line in zip(checkout.items, priced.lines, strict=True)
            ],
        )
        await connection.execute(
            "UPDATE budget SET left_fen = left_fen - $1 WHERE pool = 'appliances'",
            priced.subsidy_fen,
        )
    return Claim(
        claim_id=claim_id,
        state="confirmed",
        store_id=checkout.store_id,
        order_no=checkout.order_no,
        policy=priced.policy or "",
        sold_at=checkout.sold_at,
        created_at=checkout.sold_at,
        expires_at=None,
        price_fen=priced.price_fen,
        subsidy_fen=priced.subsidy_fen,
        payable_fen=priced.payable_fen,
        lines=tuple(ClaimLine.of(line, "confirmed") for line in priced.lines),
    )
