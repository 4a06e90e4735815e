"""The invoices of release 0.1.0 are on record as papers after the upgrade."""

import asyncio

import asyncpg
import pytest

from service.db.engine import migrate
from tests.conftest import Clones, cloned

pytestmark = pytest.mark.anyio

OLD = """
INSERT INTO invoice (jurisdiction, number, code, claim_id, dated_on, buyer, total_fen, recorded_at)
SELECT '330402', lpad(n::text, 20, '0'), '033001', gen_random_uuid(), '2025-06-18', 'x', n, now()
FROM generate_series(1, 4500) AS n
"""
ONE_PAPER_TWICE = """
INSERT INTO invoice (jurisdiction, number, code, claim_id, dated_on, buyer, total_fen, recorded_at)
SELECT '330402', spelling, '', gen_random_uuid(), '2025-06-18', 'x', 1, now()
FROM unnest(ARRAY['AB-1', 'ab1']) AS spelling
"""


async def test_every_former_invoice_becomes_a_paper_once(
    clones: Clones, anyio_backend: str
) -> None:
    async with cloned(clones, "template0") as url:
        await asyncio.to_thread(migrate, url, "0015")
        ledger = await asyncpg.connect(url)
        try:
            await ledger.execute(OLD)
            await ledger.execute(ONE_PAPER_TWICE)
            await asyncio.to_thread(migrate, url)
            papers = await ledger.fetch("SELECT number, code FROM invoice_paper")
            assert len(papers) == 4501  # the two spellings are one paper
            assert {paper["code"] for paper in papers} == {""}  # 20 digits have no code
            assert [one["number"] for one in papers if not one["number"].isdigit()] == ["AB1"]
            without = await ledger.fetchval(
                "SELECT count(*) FROM invoice AS i LEFT JOIN invoice_paper AS p USING (claim_id)"
                " WHERE p.total_fen IS DISTINCT FROM i.total_fen"
            )
            assert without == 1
        finally:
            await ledger.close()
