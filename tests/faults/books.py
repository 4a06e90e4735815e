"""Reads the ledger and the gate at rest, as plain values for the checker."""

import json
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import redis


@dataclass
class Books:
    """Rows as dictionaries. `gate` has by pool: allocated, spent, version, flying."""

    claims: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    pools: list[dict[str, Any]] = field(default_factory=list)
    slices: list[dict[str, Any]] = field(default_factory=list)
    journal: list[dict[str, Any]] = field(default_factory=list)
    serials: list[dict[str, Any]] = field(default_factory=list)
    quota_uses: list[dict[str, Any]] = field(default_factory=list)
    gate: dict[str, dict[str, int]] = field(default_factory=dict)
    admissions: int = 0


async def read_books(database_url: str, gate: "redis.Redis[bytes]") -> Books:
    connection = await asyncpg.connect(database_url)
    books = Books()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for name, table in (
            ("claims", "claim"),
            ("lines", "claim_line"),
            ("pools", "pool_total"),
            ("slices", "pool_part"),
            ("journal", "journal"),
            ("serials", "serial_claimed"),
            ("quota_uses", "quota_use"),
        ):
            rows = await connection.fetch(f"SELECT * FROM {table}")
            setattr(books, name, [dict(row) for row in rows])
    await connection.close()
    for line in books.lines:
        line["quotas"] = json.loads(line["quotas"])
    for pool in books.pools:
        view = gate.hgetall(f"butie:{{330402}}:pool:{pool['pool']}")
        books.gate[pool["pool"]] = {key.decode(): int(value) for key, value in view.items()}
    books.admissions = gate.hlen("butie:{330402}:admissions")
    return books
